# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Small real volumes: crops of the real CT that stands in ``real_ct``."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

# TotalSegmentator's number of each organ; the value in our labels is the position in this table plus one
ORGANS = {"spleen": 1, "left_kidney": 3, "liver": 5, "stomach": 6}


class Crops:
    """Cuts cases out of the real CT; every case starts elsewhere, and all show every organ of ``ORGANS``."""

    organs = list(ORGANS)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        image = nib.load(Path(__file__).parents[1] / "data" / "real_ct" / "ct.nii.gz")
        segmentation = np.asanyarray(
            nib.load(Path(__file__).parents[1] / "data" / "real_ct" / "segmentation.nii.gz").dataobj
        )
        self.affine = image.affine
        self.ct = np.asanyarray(image.dataobj)
        self.labels = np.zeros(segmentation.shape, np.uint8)
        for value, number in enumerate(ORGANS.values(), start=1):
            self.labels[segmentation == number] = value

    def voxels(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and label of case ``number``."""
        box = (slice(number, number + 100), slice(number, number + 80), slice(4, 28))
        return self.ct[box], self.labels[box]

    def write(self, name: str, voxels: np.ndarray, affine: np.ndarray | None = None) -> str:
        """Write a NIfTI file into the folder and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, self.affine if affine is None else affine), path)
        return str(path)

    def case(self, number: int) -> dict[str, str]:
        """Write image and label of case ``number`` and return the item."""
        image, label = self.voxels(number)
        return {
            "image": self.write(f"img/img{number:04d}.nii.gz", image),
            "label": self.write(f"label/label{number:04d}.nii.gz", label),
        }


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    return Crops(tmp_path)
