# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Small CTs and the bundle's preprocessing of them, kept in a cache."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from scdl_components.data import CaseDataset

from .runner import BUNDLES

TRAIN = BUNDLES / "scdl_synapse" / "configs" / "train.yaml"


def preprocessing(key: str = "train#preprocessing", **overrides: object) -> Compose:
    """The bundle's own, for small volumes."""
    parser = ConfigParser()
    parser.read_config(str(TRAIN))
    for name, value in {"pixdim": [2.0, 2.0, 2.0], "roi_size": [16, 16, 16], **overrides}.items():
        parser[name] = value
    return parser.get_parsed_content(key)


def dataset(cases, cache_dir, cache_rate=1.0, **overrides) -> CaseDataset:
    return CaseDataset(cases, preprocessing(**overrides), cache_rate, cache_dir)


def counts(data: CaseDataset) -> tuple[int, int]:
    """How many entries it has read and written."""
    return data.disk.counts["read"], data.disk.counts["written"]


def assert_same(one: dict, other: dict) -> None:
    """The same plain tensors in the same order."""
    assert list(one) == list(other)
    for key, value in one.items():
        assert type(value) is type(other[key]) is torch.Tensor and value.stride() == other[key].stride(), key
        torch.testing.assert_close(value, other[key], rtol=0, atol=0)


def write_case(folder: Path, number: int) -> dict[str, str]:
    """A CT of 20 × 18 × 12 voxels of 3 × 2.5 × 4 mm and its label; all files have one size."""
    voxels = np.random.default_rng(number).integers(-200, 300, (20, 18, 12), dtype=np.int16)
    case = {}
    for key, values in {"image": voxels, "label": (voxels > 100).astype(np.uint8)}.items():
        path = folder / key / f"{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.diag([-3.0, 2.5, 4.0, 1.0])), path)
        case[key] = str(path)
    return case
