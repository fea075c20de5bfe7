# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Differences between two runs on the same cases: means, bootstrap intervals, Wilcoxon tests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from scipy.stats import wilcoxon

from ..metrics.scores import DISTANCES, METRICS
from .table import ScoreTable, defined_mean

CONFIDENCE = 0.95
NUM_RESAMPLES = 10000


@dataclass(frozen=True)
class Difference:
    """One metric of one organ, or of one group of organs, in two runs.

    Attributes:
        metric: its name.
        scope: "organ" or "group".
        name: of the organ or the group.
        n: cases in which both runs have a value; the means, the difference and its statistics are of these.
        only_a: (case, organ) pairs in which it is defined in the first run alone.
        only_b: likewise in the second run. Both count in a group's Dice and NSD, and nowhere else.
        mean_a: of the first run.
        mean_b: of the second run.
        difference: mean of second minus first.
        low: lower end of the confidence interval of the difference; NaN for less than two cases.
        high: its upper end.
        p_value: Wilcoxon signed-rank test, two-sided; NaN without a case, and of several seeds.
        p_holm: the same, corrected for the number of organs; NaN for groups.
    """

    metric: str
    scope: str
    name: str
    n: int
    only_a: int
    only_b: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float = nan


def compare_tables(a: Sequence[ScoreTable], b: Sequence[ScoreTable], num_tail: int) -> list[Difference]:
    """Compute ``b - a`` by metric: organs from large to small, head, tail, all.

    A group's Dice or NSD of a case is each run's mean over its organs, as in the run's own report: an organ that a run
    alone draws where there is none counts 0. Its distances are those of the organs that both runs have.

    Args:
        a: scores of the first run, a table for each seed; compared is the seeds' mean of each case.
        b: scores of the second run, of the same cases and organs; with as many seeds, in pairs with the first run's.
        num_tail: how many of the smallest organs are the tail.
    """
    organs, masks = a[0].organs, a[0].group_masks(num_tail)
    scopes = [("organ", organs[o], np.arange(len(organs)) == o) for o in a[0].large_to_small()]
    scopes += [("group", name, mask) for name, mask in masks.items() if mask.any()]
    differences = []
    for metric in METRICS:
        values = [np.stack([table.values[metric] for table in run]) for run in (a, b)]  # each [seeds, cases, organs]
        defined = [~np.isnan(each).any(axis=0) for each in values]
        in_both = defined[0] & defined[1]
        rows = []
        for scope, name, mask in scopes:
            counted = in_both | (scope == "group" and metric not in DISTANCES)
            by_case = [defined_mean(np.where(counted, each, nan)[..., mask], axis=2) for each in values]
            only_a, only_b = (int((one & ~in_both)[:, mask].sum()) for one in defined)
            rows.append(Difference(metric, scope, name, only_a=only_a, only_b=only_b, **_statistics(*by_case)))
        corrected = iter(holm([row.p_value for row in rows if row.scope == "organ"]))
        differences += [replace(row, p_holm=next(corrected)) if row.scope == "organ" else row for row in rows]
    return differences


def _statistics(a: np.ndarray, b: np.ndarray) -> dict[str, float | int]:
    """Compare two runs' values [seeds, N] of the cases."""
    paired = ~np.isnan(a + b).any(axis=0)
    difference = (b - a)[:, paired]
    low, high = bootstrap_interval(difference)
    n = difference.shape[1]
    mean_a, mean_b, mean = (float(v.mean()) if n else nan for v in (a[:, paired], b[:, paired], difference))
    found = {"n": n, "mean_a": mean_a, "mean_b": mean_b, "difference": mean}
    p_value = signed_rank_p(difference[0]) if len(difference) == 1 else nan  # of cases alone it would be far too small
    return {**found, "low": low, "high": high, "p_value": p_value}


def bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    """Compute the bootstrap interval of a mean [seeds, N] over seeds and cases; NaN for less than two cases.

    Each resample draws seeds, and cases for all of them alike. Each interval draws the same resamples, so that none
    depends on what else is compared. SciPy's ``bootstrap`` resamples one axis.
    """
    num_seeds, num_cases = differences.shape
    if num_cases < 2:
        return nan, nan
    rng = np.random.default_rng(0)
    cases = rng.integers(num_cases, size=(NUM_RESAMPLES, num_cases))
    seeds = rng.integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))
    means = np.take_along_axis(differences[seeds].mean(axis=1), cases, axis=1).mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


def signed_rank_p(differences: np.ndarray) -> float:
    """Compute Wilcoxon's two-sided p; 1 where no case differs, NaN without a case."""
    if not len(differences):
        return nan
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p by Holm's step-down method; NaN are no tests and stay."""
    p = np.asarray(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    corrected = np.full(len(p), nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected.tolist()
