# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A network whose classes are intensities: it shows where a voxel went without any training."""

from __future__ import annotations

from pathlib import Path

import torch

TESTS = Path(__file__).parents[1]  # as working directory of the runner, which then finds the network
LIVER_HU, AORTA_HU = 120, 300


def network(liver: int = LIVER_HU) -> tuple[str, ...]:
    """Overrides of inference.yaml: the network below in the place of a trained one."""
    definition = f"{{'_target_':'support.threshold.Threshold','num_classes':'@num_classes','liver':{liver}}}"
    return "--load_pretrain", "False", "--network_def", definition


RUN = (*network(), "--roi_size", "[64,64,64]", "--overlap", "0", "--num_workers", "0")


class Threshold(torch.nn.Module):
    """Class 6 (liver) around ``liver`` HU, 8 (aorta) above 250, of the default ``intensity_range``."""

    def __init__(self, num_classes: int, liver: int = LIVER_HU) -> None:
        super().__init__()
        self.liver = liver
        self.num_classes = num_classes
        self.students = torch.nn.ModuleList()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hu = x[:, 0] * 400 - 125
        organ = torch.where((hu - self.liver).abs() < 20, 6, torch.where(hu > 250, 8, 0))
        return torch.nn.functional.one_hot(organ.long(), self.num_classes).movedim(-1, 1).to(x)
