# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation protocols: grid, unit, and the cost of a missing organ."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import InputError
from .scores import ABSENT_IN_BOTH, IN_BOTH, OrganScore, organ_scores

UNITS = {"clinical": "mm", "paper": "voxels"}
MISSING_ASD = 128.0  # of an organ missing in one of the two, in the paper protocol


@dataclass(frozen=True)
class Protocol:
    """A way to score two label maps.

    - clinical: the patient's own grid, distances in millimetres.
    - paper: the evaluation that the papers of this line of work publish (DHC, MagicNet, GALoss, SCDL). Both volumes are
      resized with nearest neighbours; distances are in voxels of that grid, whatever they are in mm. The publications
      state Dice and the directed ASD; HD95, ASSD and NSD are added on the same grid, without penalties.

    Args:
        name: clinical or paper.
        nsd_tolerance: of the surface Dice, in the unit of the distances.
        spatial_size: of the grid of the paper protocol (right-left, posterior-anterior, inferior-superior).

    Raises:
        InputError: there is no such protocol, or the tolerance is no positive number.
    """

    name: str
    nsd_tolerance: float = 2.0
    spatial_size: tuple[int, int, int] = (160, 160, 80)

    def __post_init__(self) -> None:
        if self.name not in UNITS:
            raise InputError(f"no protocol {self.name!r}; set protocol to one of {', '.join(UNITS)}")
        if not isinstance(self.nsd_tolerance, (int, float)) or not self.nsd_tolerance > 0:
            raise InputError(
                f"nsd_tolerance is {self.nsd_tolerance!r}; expected a number above 0, in {self.unit} for the protocol "
                f"{self.name}"
            )

    @property
    def unit(self) -> str:
        """Unit of the distances."""
        return UNITS[self.name]

    def describe(self) -> dict[str, object]:
        """Describe grid, unit, tolerance and the cost of a missing organ as JSON values."""
        if self.name == "clinical":
            grid = "the patient's own grid, distances in mm"
            missing = (
                "An organ missing in one of the two scores Dice 0 and NSD 0, which enter the means; its distances are "
                "undefined and left out. An organ absent in both has no scores."
            )
        else:
            grid = f"both resized (nearest) to {'×'.join(map(str, self.spatial_size))}, distances in voxels of it"
            missing = (
                f"An organ missing in one of the two scores Dice 0, ASD {MISSING_ASD:g} and NSD 0; absent in both "
                "it scores Dice 1 and ASD 0. All of these enter the means, as published. HD95, ASSD (and NSD, where "
                "absent in both) are undefined then and left out."
            )
        return {
            "name": self.name,
            "description": f"{grid}, NSD at {self.nsd_tolerance:g} {self.unit}",
            "unit": self.unit,
            "nsd_tolerance": self.nsd_tolerance,
            "missing_rule": f"{missing} The number of cases stands beside every mean.",
        }

    def __call__(self, pred: np.ndarray, label: np.ndarray, affine: np.ndarray, num_classes: int) -> list[OrganScore]:
        """Score classes 1 to ``num_classes - 1``.

        Args:
            pred: class indices [X, Y, Z] in RAS order.
            label: class indices [X, Y, Z], on the same grid.
            affine: of the grid [4, 4], mm; its axes may be oblique. The paper protocol does not use it.
            num_classes: with the background.
        """
        if self.name == "clinical":
            return organ_scores(pred, label, num_classes, affine[:3, :3], self.nsd_tolerance)
        resized = (self._resize(volume) for volume in (pred, label))
        scores = organ_scores(*resized, num_classes, np.eye(3), self.nsd_tolerance)
        changes = {IN_BOTH: {}, ABSENT_IN_BOTH: {"dice": 1.0, "asd": 0.0}}
        return [replace(score, **changes.get(score.status, {"asd": MISSING_ASD})) for score in scores]

    def _resize(self, volume: np.ndarray) -> np.ndarray:
        # the function of the published evaluations, so that it picks the same voxels
        tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.uint8))[None, None]
        return torch.nn.functional.interpolate(tensor, self.spatial_size, mode="nearest")[0, 0].numpy()
