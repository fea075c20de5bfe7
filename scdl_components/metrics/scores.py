# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of every organ of two label maps, each organ in the box that holds it in both."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from scipy.ndimage import find_objects

from .surface import (
    average_distance,
    average_symmetric_distance,
    dice,
    hausdorff95,
    normalized_surface_dice,
    surface_distances,
)

METRICS = ("dice", "hd95", "asd", "assd", "nsd")

IN_BOTH = "in both"
MISSING_IN_PREDICTION = "missing in prediction"
MISSING_IN_REFERENCE = "missing in reference"
ABSENT_IN_BOTH = "absent in both"
STATUSES = (IN_BOTH, MISSING_IN_PREDICTION, MISSING_IN_REFERENCE, ABSENT_IN_BOTH)


@dataclass(frozen=True)
class OrganScore:
    """Scores of one organ of one case; NaN where a metric is undefined.

    Attributes:
        status: one of ``STATUSES``.
        dice: overlap, 0 to 1.
        hd95: 95 % Hausdorff distance.
        asd: average distance from the prediction's surface to the reference's.
        assd: average symmetric surface distance.
        nsd: normalised surface Dice at the tolerance, 0 to 1.
    """

    status: str
    dice: float = nan
    hd95: float = nan
    asd: float = nan
    assd: float = nan
    nsd: float = nan


def organ_scores(
    pred: np.ndarray, label: np.ndarray, num_classes: int, axes: np.ndarray, nsd_tolerance: float
) -> list[OrganScore]:
    """Scores of classes 1 to ``num_classes - 1``.

    What is missing in one of the two has Dice 0 and NSD 0 and no distances; what is absent in both has no scores.

    Args:
        pred: class indices [X, Y, Z].
        label: class indices [X, Y, Z].
        num_classes: with the background.
        axes: linear part of the affine [3, 3], in the unit of the distances.
        nsd_tolerance: in the same unit.
    """
    boxes = zip(*(find_objects(volume, max_label=num_classes - 1) for volume in (pred, label)))
    return [_score(pred, label, value, pair, axes, nsd_tolerance) for value, pair in enumerate(boxes, start=1)]


def _score(
    pred: np.ndarray, label: np.ndarray, value: int, boxes: tuple, axes: np.ndarray, nsd_tolerance: float
) -> OrganScore:
    in_pred, in_label = (box is not None for box in boxes)
    if not in_pred and not in_label:
        return OrganScore(ABSENT_IN_BOTH)
    if not in_pred or not in_label:
        return OrganScore(MISSING_IN_REFERENCE if in_pred else MISSING_IN_PREDICTION, dice=0.0, nsd=0.0)
    # nothing of the organ lies beyond this box, so that its border is the organ's as much as the volume's
    box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*boxes))
    masks = pred[box] == value, label[box] == value
    to_label, to_pred = surface_distances(*masks, axes)
    return OrganScore(
        IN_BOTH,
        dice=dice(*masks),
        hd95=hausdorff95(to_label, to_pred),
        asd=average_distance(to_label),
        assd=average_symmetric_distance(to_label, to_pred),
        nsd=normalized_surface_dice(to_label, to_pred, nsd_tolerance),
    )
