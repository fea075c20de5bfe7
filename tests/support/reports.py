# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

CLASSES = ["background", "liver", "spleen", "gallbladder"]


def label_map(rng: np.random.Generator, gallbladder: bool = True) -> np.ndarray:
    """Three boxes: 512 and some, 108 and 8 voxels."""
    volume = np.zeros((24, 20, 16), dtype=np.uint8)
    x = rng.integers(2, 4)
    volume[x : x + 8, 4:12, 4:12] = 1
    volume[14:20, 3:9, 5:8] = 2
    if gallbladder:
        volume[15:17, 14:16, 6:8] = 3
    return volume


def save(path: Path, volume: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.5, 1.0])), path)


@pytest.fixture
def data(tmp_path) -> Path:
    """Four cases with labels; the third one has no gallbladder. Folder of images, labels and the case list."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(4):
        case = {"image": f"img/case{number}.nii.gz", "label": f"label/case{number}.nii.gz"}
        volume = label_map(rng, gallbladder=number != 2)
        save(tmp_path / "data" / case["label"], volume)
        save(tmp_path / "data" / case["image"], volume.astype(np.int16) * 40 - 100)
        cases.append(case)
    (tmp_path / "data" / "cases.json").write_text(json.dumps({"test": cases}))
    return tmp_path / "data"


@pytest.fixture
def predict(data, tmp_path):
    """Writes segmentations that are the labels moved by some voxels; ``lost``: case -> values it misses."""

    def write(name: str, shift: int, lost: dict[int, tuple[int, ...]] | None = None) -> Path:
        folder = tmp_path / name
        for number in range(4):
            volume = np.roll(np.asarray(nib.load(data / "label" / f"case{number}.nii.gz").dataobj), shift, axis=0)
            volume[np.isin(volume, (lost or {}).get(number, ()))] = 0
            save(folder / f"case{number}_seg.nii.gz", volume)
            labels = {"labels": {str(value): organ for value, organ in enumerate(CLASSES)}}
            (folder / f"case{number}_seg.json").write_text(json.dumps(labels))
        return folder

    return write
