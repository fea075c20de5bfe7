# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Differences between two runs on the same cases: means, bootstrap intervals, Wilcoxon tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from scipy.stats import wilcoxon

from ..metrics.scores import DISTANCES, METRICS
from .summary import GROUPS, by_size, defined_mean, group_masks, organ_sizes
from .table import ScoreTable


@dataclass(frozen=True)
class Difference:
    """One metric of one organ, or of one group of organs, in two runs.

    Attributes:
        metric: its name.
        scope: "organ" or "group".
        name: of the organ or the group.
        group: head, tail or None.
        n: cases in which both runs have a value; the means, the difference and its statistics are of these.
        only_a: (case, organ) pairs in which it is defined in the first run alone.
        only_b: likewise the second run. To a group's Dice and NSD they count, else they are left out.
        mean_a: of the first run.
        mean_b: of the second run.
        difference: mean of second minus first.
        low: lower end of the confidence interval of the difference; NaN for less than two cases.
        high: its upper end.
        p_value: Wilcoxon signed-rank test, two-sided; NaN without a case.
        p_holm: the same, corrected for the number of organs; NaN for groups.
    """

    metric: str
    scope: str
    name: str
    group: str | None
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


def compare_tables(
    a: Sequence[ScoreTable],
    b: Sequence[ScoreTable],
    num_tail: int = 5,
    metrics: Sequence[str] = METRICS,
    confidence: float = 0.95,
    num_resamples: int = 10000,
    seed: int = 0,
) -> list[Difference]:
    """Differences ``b - a`` by metric, for the organs from large to small, then head, tail and all.

    A group's Dice or NSD of a case is each run's mean over its organs, as in the run's own report: an organ that a run
    alone draws where there is none counts 0. Its distances are those of the organs that both runs have.

    Args:
        a: scores of the first run, a table for each seed; compared is the seeds' mean of each case.
        b: scores of the second run, of the same cases and organs.
        num_tail: how many of the smallest organs are the tail.
        metrics: to compare.
        confidence: of the intervals.
        num_resamples: of the bootstrap over cases.
        seed: of the bootstrap; each interval starts from it, so that none depends on what else is compared.
    """
    organs, sizes = a[0].organs, organ_sizes(a[0])
    masks = group_masks(sizes, num_tail)
    scopes = [("organ", organs[o], np.arange(len(organs)) == o) for o in by_size(sizes)]
    scopes += [("group", name, masks[name]) for name in GROUPS]
    differences = []
    for metric in metrics:
        values_a, values_b = (np.stack([table.values[metric] for table in run]) for run in (a, b))
        defined_a, defined_b = (~np.isnan(values).any(axis=0) for values in (values_a, values_b))
        in_both = defined_a & defined_b
        rows = []
        for scope, name, mask in scopes:
            group = next((each for each in ("head", "tail") if mask.any() and masks[each][mask].all()), None)
            own = scope == "group" and metric not in DISTANCES
            means = [
                np.mean([defined_mean(np.where(own | in_both, each, nan)[:, mask], axis=1) for each in values], axis=0)
                for values in (values_a, values_b)
            ]
            found = _compare(*means, confidence, num_resamples, np.random.default_rng(seed))
            only_a, only_b = (int((one & ~in_both)[:, mask].sum()) for one in (defined_a, defined_b))
            rows.append(Difference(metric, scope, name, group, only_a=only_a, only_b=only_b, **found))
        corrected = iter(holm([row.p_value for row in rows if row.scope == "organ"]))
        differences += [replace(row, p_holm=next(corrected)) if row.scope == "organ" else row for row in rows]
    return differences


def _compare(
    a: np.ndarray, b: np.ndarray, confidence: float, num_resamples: int, rng: np.random.Generator
) -> dict[str, float | int]:
    """Statistics of two runs' values [N] of the cases."""
    paired = ~np.isnan(a + b)
    difference = (b - a)[paired]
    low, high = bootstrap_interval(difference, confidence, num_resamples, rng)
    mean_a, mean_b, mean = (float(v.mean()) if len(difference) else nan for v in (a[paired], b[paired], difference))
    return {
        "n": len(difference),
        "mean_a": mean_a,
        "mean_b": mean_b,
        "difference": mean,
        "low": low,
        "high": high,
        "p_value": signed_rank_p(difference),
    }


def bootstrap_interval(
    differences: np.ndarray, confidence: float, num_resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile interval of the mean [N] under resampling of the cases; NaN for less than two.

    SciPy's ``bootstrap`` does the same, but names its random generator differently from version to version.
    """
    if len(differences) < 2:
        return nan, nan
    means = differences[rng.integers(len(differences), size=(num_resamples, len(differences)))].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


def signed_rank_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where no case differs, NaN without a case."""
    if not len(differences):
        return nan
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; NaN are no tests and stay."""
    p = np.asarray(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    corrected = np.full(len(p), nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected.tolist()
