# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""From the scores of cases and organs to means: by organ, over the large (head) and the small (tail) organs."""

from __future__ import annotations

import numpy as np

from ..metrics.scores import METRICS, STATUSES
from .table import ScoreTable

GROUPS = ("head", "tail", "all")


def defined_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the defined values [C, O] along an axis; NaN where there is none."""
    return np.ma.masked_invalid(values).mean(axis).filled(np.nan)


def organ_sizes(table: ScoreTable) -> np.ndarray:
    """Mean labeled volume [O] in ml over the references that hold the organ; NaN where none does."""
    volumes = table.values["volume_reference_ml"]
    return defined_mean(np.where(volumes > 0, volumes, np.nan), axis=0)


def by_size(sizes: np.ndarray) -> list[int]:
    """Indices of the organs from large to small, those without a size last."""
    return np.argsort(-sizes, kind="stable").tolist()


def group_masks(sizes: np.ndarray, num_tail: int) -> dict[str, np.ndarray]:
    """Which organs [O] are in which of ``GROUPS``: the tail are the ``num_tail`` smallest.

    An organ that no reference holds has no size: it counts among all, but is neither head nor tail.
    """
    known = ~np.isnan(sizes)
    tail = np.zeros(len(sizes), dtype=bool)
    tail[np.argsort(sizes, kind="stable")[: min(num_tail, known.sum())]] = True
    return {"head": known & ~tail, "tail": tail, "all": np.ones(len(sizes), dtype=bool)}


def statistics(values: np.ndarray) -> dict[str, float | int | None]:
    """Mean, sample standard deviation and number of the defined values; None where there are too few."""
    defined = values[~np.isnan(values)]
    return {
        "mean": float(defined.mean()) if len(defined) else None,
        "std": float(defined.std(ddof=1)) if len(defined) > 1 else None,
        "n": len(defined),
    }


def worst_cases(table: ScoreTable, num: int) -> list[dict[str, object]]:
    """The cases of lowest mean Dice over their organs, worst first, with that mean."""
    means = defined_mean(table.values["dice"], axis=1)
    order = [c for c in np.argsort(means, kind="stable") if not np.isnan(means[c])]
    return [{"case": table.cases[c], "mean_dice": float(means[c])} for c in order[:num]]


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
            "status": _count(table.status[:, masks[name]]),
            "metrics": {m: statistics(defined_mean(table.values[m][:, masks[name]], axis=1)) for m in METRICS},
        }
        for name in GROUPS
    }
    return {"num_cases": len(table.cases), "cases": table.cases, "organs": organs, "groups": groups}


def _count(status: np.ndarray) -> dict[str, int]:
    return {name: int((status == name).sum()) for name in STATUSES}
