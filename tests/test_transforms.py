# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inversion class by class against MONAI's own transforms."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd, Spacingd

from scdl_components.metrics.surface import dice
from scdl_components.transforms import InvertArgmaxd

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
        [
            Invertd("pred", preprocessing, "image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
        ]
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


def test_what_a_gpu_has_no_room_for_is_done_on_the_cpu(monkeypatch):
    image = MetaTensor(torch.rand(1, 4, 4, 4))
    preprocessing = Orientationd("image", axcodes="RAS", labels=None)
    item = preprocessing({"image": image})
    item["pred"] = MetaTensor(torch.rand(3, 4, 4, 4), meta=item["image"].meta)
    invert = InvertArgmaxd("pred", preprocessing, "image")
    expected, whole, failures = (
        invert(item)["pred"],
        invert.inverts["pred"],
        [torch.OutOfMemoryError("CUDA out of memory")],
    )

    def short(data):
        if failures:
            raise RuntimeError("applying transform") from failures.pop()
        return whole(data)

    monkeypatch.setitem(invert.inverts, "pred", short)
    assert torch.equal(invert(item)["pred"], expected) and not failures
    failures.append(ValueError("another"))
    with pytest.raises(RuntimeError, match="applying transform"):
        invert(item)


@pytest.mark.parametrize("radius, least_dice", [(19.3, 0.97), (9.4, 0.94)], ids=["30 ml", "3.5 ml"])
@pytest.mark.parametrize("shear", [0, 0.75], ids=["upright", "tilted gantry"])
@pytest.mark.parametrize("depth", [1.0, 2.5, 5.0])
def test_what_a_perfect_network_loses_on_the_way_there_and_back(radius, least_dice, shear, depth):
    """The bound of docs/reliability.md: a ball, resampled as labels are for training, and back."""
    spacing = np.array([0.8, 0.8, depth])
    shape = tuple(np.ceil(2 * (radius + 8) / spacing).astype(int))
    affine = np.diag([-0.8, -0.8, depth, 1.0])
    affine[1, 2] = shear
    centre = affine[:3, :3] @ (np.array(shape) / 2) + [0.1, 0.3, 0.2]
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ affine[:3, :3].T
    label = np.linalg.norm(points - centre, axis=-1) < radius
    there = [Orientationd(["image", "label"], axcodes="RAS", labels=None)]
    there.append(Spacingd(["image", "label"], pixdim=(1.5, 1.5, 2.0), mode=["bilinear", "nearest"]))
    volume = MetaTensor(torch.from_numpy(label[None].astype(np.float32)), affine=torch.from_numpy(affine))
    item = Compose(there)({"image": volume, "label": volume.clone()})
    item["pred"] = MetaTensor(torch.cat([1 - item["label"], item["label"]]), meta=item["image"].meta)
    found = InvertArgmaxd("pred", Compose(there), "image")(item)["pred"][0].numpy() > 0
    assert dice(found, label) >= least_dice
