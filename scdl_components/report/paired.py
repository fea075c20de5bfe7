# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Differences between two runs on the same cases: means, bootstrap intervals, Wilcoxon tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from scipy.stats import wilcoxon

from ..metrics.scores import METRICS
from .summary import GROUPS, by_size, case_means, group_masks, organ_sizes
from .table import ScoreTable


@dataclass(frozen=True)
class Difference:
    """One metric of one organ, or of one group of organs, in two runs.

    Attributes:
        metric: its name.
        scope: "organ" or "group".
        name: of the organ or the group.
        group: head, tail or None.
        n: cases in which it is defined in both runs; all that follows is of these.
        only_a: (case, organ) pairs in which it is defined in the first run alone.
        only_b: likewise the second run.
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
    a: ScoreTable,
    b: ScoreTable,
    num_tail: int = 5,
    metrics: Sequence[str] = METRICS,
    confidence: float = 0.95,
    num_resamples: int = 10000,
    seed: int = 0,
) -> list[Difference]:
    """Differences ``b - a`` by metric, for the organs from large to small, then head, tail and all.

    A group's value of a case is the mean over those of its organs that are defined in both runs.

    Args:
        a: scores of the first run.
        b: scores of the second run, of the same cases and organs.
        num_tail: how many of the smallest organs are the tail.
        metrics: to compare.
        confidence: of the intervals.
        num_resamples: of the bootstrap over cases.
        seed: of the bootstrap; each interval starts from it, so that none depends on what else is compared.
    """
    sizes = organ_sizes(a)
    masks = group_masks(sizes, num_tail)
    scopes = [("organ", a.organs[o], np.arange(len(a.organs)) == o) for o in by_size(sizes)]
    scopes += [("group", name, masks[name]) for name in GROUPS]
    differences = []
    for metric in metrics:
        values = a.values[metric], b.values[metric]
        rows = []
        for scope, name, organs in scopes:
            group = next((each for each in ("head", "tail") if organs.any() and masks[each][organs].all()), None)
            found = _compare(*values, organs, confidence, num_resamples, np.random.default_rng(seed))
            rows.append(Difference(metric, scope, name, group, **found))
        corrected = iter(holm([row.p_value for row in rows if row.scope == "organ"]))
        differences += [replace(row, p_holm=next(corrected)) if row.scope == "organ" else row for row in rows]
    return differences


def _compare(
    a: np.ndarray, b: np.ndarray, organs: np.ndarray, confidence: float, num_resamples: int, rng: np.random.Generator
) -> dict[str, float | int]:
    in_a, in_b = ~np.isnan(a[:, organs]), ~np.isnan(b[:, organs])
    means_a, means_b = (case_means(np.where(np.isnan(a + b), np.nan, values), organs) for values in (a, b))
    paired = ~np.isnan(means_a)
    difference = (means_b - means_a)[paired]
    low, high = bootstrap_interval(difference, confidence, num_resamples, rng)
    return {
        "n": int(paired.sum()),
        "only_a": int((in_a & ~in_b).sum()),
        "only_b": int((in_b & ~in_a).sum()),
        "mean_a": float(means_a[paired].mean()) if paired.any() else nan,
        "mean_b": float(means_b[paired].mean()) if paired.any() else nan,
        "difference": float(difference.mean()) if paired.any() else nan,
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
