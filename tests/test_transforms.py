# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inversion class by class against MONAI's own transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd, Spacingd

from scdl_components.transforms import INVERSION_BYTES, InvertArgmaxd, has_room, original_voxels

AFFINES = {
    "axes swapped, anisotropic": np.array([[0, 0, 5.0, 3], [-0.8, 0, 0, 9], [0, 0.8, 0, -7], [0, 0, 0, 1]]),
    "oblique": np.array([[0.9, 0.3, 0.0, 1], [-0.3, 0.9, 0.2, 2], [0.1, -0.2, 3.0, 4], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("num_classes", [2, 14])
def test_same_labels_as_monai(affine, num_classes):
    torch.manual_seed(0)
    image = MetaTensor(torch.rand(1, 20, 24, 9), affine=torch.as_tensor(affine))
    preprocessing = Compose(
        [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear")]
    )
    item = preprocessing({"image": image})
    logits = torch.randn(num_classes, *item["image"].shape[1:])
    item["pred"] = MetaTensor(logits, meta=item["image"].meta)
    whole = Compose(
        [Invertd("pred", preprocessing, "image", nearest_interp=False, to_tensor=True), AsDiscreted("pred", argmax=True)]
    )(dict(item))["pred"]
    found = InvertArgmaxd("pred", preprocessing, "image")(item)["pred"]
    assert found.dtype == torch.uint8 and found.shape == (1, 20, 24, 9)
    assert len(found.unique()) == num_classes
    assert torch.equal(found.as_tensor(), whole.as_tensor().to(torch.uint8))
    assert torch.equal(found.affine, whole.affine)
    np.testing.assert_allclose(found.affine.numpy(), affine, atol=1e-6)


def test_more_classes_than_a_byte_holds():
    image = MetaTensor(torch.rand(1, 4, 4, 4))
    preprocessing = Orientationd("image", axcodes="RAS", labels=None)
    item = preprocessing({"image": image})
    logits = torch.zeros(300, 4, 4, 4)
    logits[299] = 1
    item["pred"] = MetaTensor(logits, meta=item["image"].meta)
    assert (InvertArgmaxd("pred", preprocessing, "image")(item)["pred"] == 299).all()


def test_room_is_asked_of_a_gpu_for_the_grid_of_the_file(monkeypatch):
    volume = MetaTensor(torch.rand(2, 4, 4, 4), meta={"spatial_shape": np.array([8, 8, 6])})
    assert original_voxels(volume) == 384 and original_voxels(torch.rand(2, 4, 4, 4)) == 64
    monkeypatch.setattr("scdl_components.transforms.free_memory", lambda device: 384 * INVERSION_BYTES)
    assert has_room(torch.device("cuda"), 383) and not has_room(torch.device("cuda"), 384)
    assert has_room(torch.device("cpu"), 10**12)
