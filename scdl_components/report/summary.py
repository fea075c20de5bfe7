# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""From the scores of cases and organs to means: by organ, over the large (head) and the small (tail) organs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..metrics.scores import METRICS, STATUSES
from .table import ScoreTable

GROUPS = ("head", "tail", "all")


def organ_sizes(table: ScoreTable) -> np.ndarray:
    """Mean labelled volume [O] in ml over the references that hold the organ; NaN where none does."""
    volumes = table.volumes["volume_reference_ml"]
    return column_means(np.where(volumes > 0, volumes, np.nan))


def group_masks(sizes: np.ndarray, num_tail: int) -> dict[str, np.ndarray]:
    """Which organs [O] are in which of ``GROUPS``: the tail are the ``num_tail`` smallest.

    An organ that no reference holds has no size: it counts among all, but is neither head nor tail.
    """
    known = ~np.isnan(sizes)
    tail = np.zeros(len(sizes), dtype=bool)
    tail[np.argsort(sizes, kind="stable")[: min(num_tail, known.sum())]] = True
    return {"head": known & ~tail, "tail": tail, "all": np.ones(len(sizes), dtype=bool)}


def by_size(sizes: np.ndarray) -> list[int]:
    """Indices of the organs from large to small, those without a size last."""
    return sorted(range(len(sizes)), key=lambda o: -math.inf if np.isnan(sizes[o]) else sizes[o], reverse=True)


def column_means(values: np.ndarray) -> np.ndarray:
    """Mean of each column's defined values; NaN where there is none."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), out=np.full(total.shape, np.nan), where=defined.any(axis=0))


def case_means(values: np.ndarray, organs: np.ndarray) -> np.ndarray:
    """Mean [C] of each case over the defined ones of some organs: values [C, O], organs a mask [O]."""
    return column_means(values[:, organs].T) if organs.any() else np.full(len(values), np.nan)


def statistics(values: np.ndarray) -> dict[str, float | int | None]:
    """Mean, sample standard deviation and number of the defined values; None where there are too few."""
    defined = values[~np.isnan(values)]
    return {
        "mean": float(defined.mean()) if len(defined) else None,
        "std": float(defined.std(ddof=1)) if len(defined) > 1 else None,
        "n": len(defined),
    }


def worst_cases(table: ScoreTable, num: int) -> list[tuple[str, float]]:
    """The cases of lowest mean Dice over their organs, worst first, with that mean."""
    means = case_means(table.values["dice"], np.ones(len(table.organs), dtype=bool))
    order = [c for c in np.argsort(means, kind="stable") if not np.isnan(means[c])]
    return [(table.cases[c], float(means[c])) for c in order[:num]]


def summarize(table: ScoreTable, num_tail: int) -> dict[str, object]:
    """Statistics by organ (large to small) and by group; JSON values.

    A group's mean and deviation are those of the cases' means over the group's organs.
    """
    sizes = organ_sizes(table)
    masks = group_masks(sizes, num_tail)
    organs = {
        table.organs[o]: {
            "size_ml": None if np.isnan(sizes[o]) else float(sizes[o]),
            "group": next((name for name in ("head", "tail") if masks[name][o]), None),
            "status": _count(table.status[:, o]),
            "metrics": {name: statistics(table.values[name][:, o]) for name in METRICS},
        }
        for o in by_size(sizes)
    }
    groups = {
        name: {
            "organs": [organ for organ in organs if masks[name][table.organs.index(organ)]],
            "status": _count(table.status[:, masks[name]].ravel()),
            "metrics": {metric: statistics(case_means(table.values[metric], masks[name])) for metric in METRICS},
        }
        for name in GROUPS
    }
    return {"num_cases": len(table.cases), "cases": table.cases, "organs": organs, "groups": groups}


def _count(status: Sequence[str]) -> dict[str, int]:
    words = list(status)
    return {name: words.count(name) for name in STATUSES}
