# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of every organ of two label maps."""

from dataclasses import dataclass
from math import nan

import numpy as np
from scipy.ndimage import find_objects

from .surface import dice, distance_scores

METRICS = ("dice", "hd95", "asd", "assd", "nsd_area", "nsd_count")
DISTANCES = ("hd95", "asd", "assd")
VOLUMES = ("volume_prediction_ml", "volume_reference_ml")

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
        hd95: 95 % Hausdorff distance; definitions of this and the next ones in ``surface.distance_scores``.
        asd: average distance from the prediction's surface to the reference's.
        assd: average symmetric surface distance.
        nsd_area: normalised surface Dice at the tolerance, by area, 0 to 1.
        nsd_count: the same by number of surface voxels.
        volume_prediction_ml: on the patient's grid, whatever grid the scores are of.
        volume_reference_ml: likewise of the reference.
    """

    status: str
    dice: float = nan
    hd95: float = nan
    asd: float = nan
    assd: float = nan
    nsd_area: float = nan
    nsd_count: float = nan
    volume_prediction_ml: float = nan
    volume_reference_ml: float = nan


def organ_scores(
    pred: np.ndarray, label: np.ndarray, num_classes: int, axes: np.ndarray, nsd_tolerance: float
) -> list[OrganScore]:
    """Score classes 1 to ``num_classes - 1``.

    What is missing in one of the two has Dice 0 and NSD 0 and no distances; what is absent in both has no scores.

    Args:
        pred: class indices [X, Y, Z].
        label: class indices [X, Y, Z].
        num_classes: with the background.
        axes: linear part of the affine [3, 3], in the unit of the distances.
        nsd_tolerance: in the same unit.
    """
    scores = []
    boxes = zip(*(find_objects(volume, max_label=num_classes - 1) for volume in (pred, label)))
    for value, (in_pred, in_label) in enumerate(boxes, start=1):
        if in_pred is None and in_label is None:
            scores.append(OrganScore(ABSENT_IN_BOTH))
        elif in_pred is None or in_label is None:
            status = MISSING_IN_PREDICTION if in_pred is None else MISSING_IN_REFERENCE
            scores.append(OrganScore(status, dice=0.0, nsd_area=0.0, nsd_count=0.0))
        else:
            # the organ ends within this box, so that its surface is the same as in the whole volume
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(in_pred, in_label))
            masks = pred[box] == value, label[box] == value
            scores.append(OrganScore(IN_BOTH, dice(*masks), **distance_scores(*masks, axes, nsd_tolerance)))
    return scores
