# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""On which grid, in which unit, and what a missing organ costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..errors import InputError
from .scores import ABSENT_IN_BOTH, IN_BOTH, OrganScore, organ_scores


class ClinicalProtocol:
    """The patient's own grid, distances in millimetres.

    Args:
        nsd_tolerance: of the surface Dice, in mm.
    """

    name = "clinical"
    unit = "mm"
    missing_rule = (
        "An organ missing in one of the two scores Dice 0 and NSD 0, which enter the means; its distances are "
        "undefined and left out. An organ absent in both has no scores. The number of cases stands beside every mean."
    )

    def __init__(self, nsd_tolerance: float = 2.0) -> None:
        self.nsd_tolerance = nsd_tolerance

    @property
    def description(self) -> str:
        return f"the patient's own grid, distances in mm, NSD at {self.nsd_tolerance:g} mm"

    def __call__(self, pred: np.ndarray, label: np.ndarray, affine: np.ndarray, num_classes: int) -> list[OrganScore]:
        """Scores of classes 1 to ``num_classes - 1``.

        Args:
            pred: class indices [X, Y, Z].
            label: class indices [X, Y, Z], on the same grid.
            affine: of the grid [4, 4], mm; its axes may be oblique.
            num_classes: with the background.
        """
        return organ_scores(pred, label, num_classes, affine[:3, :3], self.nsd_tolerance)


class PaperProtocol:
    """The evaluation that the papers of this line of work publish (DHC, MagicNet, GALoss, SCDL).

    Both volumes are resized with nearest neighbours; distances are in voxels of that grid, whatever they are in mm.
    ASD is directed, from the prediction to the reference. The publications state Dice and ASD; HD95, ASSD and NSD are
    added on the same grid, without penalties.

    Args:
        nsd_tolerance: of the surface Dice, in voxels.
        spatial_size: of the common grid (right-left, posterior-anterior, inferior-superior).
        missing_asd: ASD of an organ missing in one of the two.
    """

    name = "paper"
    unit = "voxels"

    def __init__(
        self,
        nsd_tolerance: float = 2.0,
        spatial_size: Sequence[int] = (160, 160, 80),
        missing_asd: float = 128.0,
    ) -> None:
        self.nsd_tolerance = nsd_tolerance
        self.spatial_size = tuple(spatial_size)
        self.missing_asd = missing_asd

    @property
    def description(self) -> str:
        size = "×".join(map(str, self.spatial_size))
        return f"both resized (nearest) to {size}, distances in voxels of it, NSD at {self.nsd_tolerance:g} voxels"

    @property
    def missing_rule(self) -> str:
        return (
            f"An organ missing in one of the two scores Dice 0, ASD {self.missing_asd:g} and NSD 0; absent in both it "
            "scores Dice 1 and ASD 0. All of these enter the means, as published. HD95, ASSD (and NSD, where absent in "
            "both) are undefined then and left out. The number of cases stands beside every mean."
        )

    def __call__(self, pred: np.ndarray, label: np.ndarray, affine: np.ndarray, num_classes: int) -> list[OrganScore]:
        """As :py:meth:`ClinicalProtocol.__call__`, of volumes in RAS order; the affine decides nothing here."""
        resized = (self._resize(volume) for volume in (pred, label))
        scores = organ_scores(*resized, num_classes, np.eye(3), self.nsd_tolerance)
        return [self._with_penalty(score) for score in scores]

    def _resize(self, volume: np.ndarray) -> np.ndarray:
        # the function of the published evaluations, so that it picks the same voxels
        tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.uint8))[None, None]
        return torch.nn.functional.interpolate(tensor, self.spatial_size, mode="nearest")[0, 0].numpy()

    def _with_penalty(self, score: OrganScore) -> OrganScore:
        if score.status == IN_BOTH:
            return score
        if score.status == ABSENT_IN_BOTH:
            return replace(score, dice=1.0, asd=0.0)
        return replace(score, asd=self.missing_asd)


PROTOCOLS = {protocol.name: protocol for protocol in (ClinicalProtocol, PaperProtocol)}


def make_protocol(name: str, nsd_tolerance: float = 2.0) -> ClinicalProtocol | PaperProtocol:
    """The protocol of a name in ``PROTOCOLS``; the tolerance is in its unit.

    Raises:
        InputError: there is no such protocol, or the tolerance is no positive number.
    """
    if name not in PROTOCOLS:
        raise InputError(f"no protocol {name!r}; set protocol to one of {', '.join(PROTOCOLS)}")
    if not isinstance(nsd_tolerance, (int, float)) or not nsd_tolerance > 0:
        raise InputError(
            f"nsd_tolerance is {nsd_tolerance!r}; expected a number above 0, in {PROTOCOLS[name].unit} for the "
            f"protocol {name}"
        )
    return PROTOCOLS[name](nsd_tolerance)
