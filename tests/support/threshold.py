# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A network whose classes are intensities: it shows where a voxel went without any training."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

TESTS = Path(__file__).parents[1]  # as working directory of the runner, which then finds the network
LIVER_HU, AORTA_HU = 120, 300


def network(liver: int = LIVER_HU) -> tuple[str, ...]:
    """Overrides of inference.yaml: the network below in the place of a trained one."""
    definition = f"{{'_target_':'support.threshold.Threshold','num_classes':'@num_classes','liver':{liver}}}"
    return "--load_pretrain", "False", "--network_def", definition


RUN = (*network(), "--roi_size", "[64,64,64]", "--overlap", "0", "--num_workers", "0")


def body() -> tuple[np.ndarray, np.ndarray]:
    """HU of a body with liver and aorta, and their labels."""
    hu = np.full((60, 50, 44), -1000, np.int16)
    hu[10:50, 10:40, 4:40] = 40
    hu[35:48, 20:35, 20:35] = LIVER_HU
    hu[18:26, 12:20, 4:40] = AORTA_HU
    return hu, np.select([hu == LIVER_HU, hu == AORTA_HU], [6, 8]).astype(np.uint8)


def agreement(path: Path, label: np.ndarray, affine: np.ndarray) -> float:
    """Share of the organs' voxels that the segmentation has, at their places in the patient."""
    found, true = (nib.as_closest_canonical(image) for image in (nib.load(path), nib.Nifti1Image(label, affine)))
    np.testing.assert_allclose(found.affine, true.affine, atol=1e-3)
    found, true = np.asanyarray(found.dataobj), np.asanyarray(true.dataobj)
    assert found.shape == true.shape and set(np.unique(found)) == {0, 6, 8}
    return (found == true)[(found > 0) | (true > 0)].mean()


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
