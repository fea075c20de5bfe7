# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from scdl_components.metrics.scores import organ_scores
from scdl_components.metrics.surface import dice, distance_scores, surface_distances

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "metrics.npz")
ANISOTROPIC = np.diag([1.5, 1.5, 3.0])
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ np.diag([-0.7, 0.9, -2.5])


def two_boxes():
    """Cubes of 4 voxels, the prediction two voxels further along the first axis."""
    pred, label = np.zeros((2, 12, 9, 9), dtype=bool)
    label[2:6, 2:6, 2:6] = pred[4:8, 2:6, 2:6] = True
    return pred, label


@pytest.mark.parametrize("case", ["near", "far", "one_voxel"])
@pytest.mark.parametrize("suffix, axes", [("", np.eye(3)), ("_aniso", ANISOTROPIC)])
def test_published_numbers(case, suffix, axes):
    masks = [np.unpackbits(REFERENCE[f"{case}/{side}"])[: 40**3].reshape([40] * 3) > 0 for side in ("pred", "truth")]
    found = {"dice": dice(*masks), **distance_scores(*masks, axes, 2.0)}
    for name, key in (("dice", "dice"), ("asd", f"asd{suffix}"), ("hd95", f"hd95{suffix}")):
        assert found[name] == pytest.approx(float(REFERENCE[f"{case}/{key}"]), abs=1e-6)


def test_two_shifted_boxes_by_hand():
    """Surfaces of 56 voxels; steps of 2, 1, 1 mm. The far face is 4 mm off (16 voxels), the next ring 2 mm (12), two
    rings coincide (24), and the near face's inner voxels are 1 mm from the other's ring (4)."""
    boxes, axes = two_boxes(), np.diag([2.0, 1.0, 1.0])
    for distances in surface_distances(*boxes, axes):
        assert np.bincount(distances.astype(int)).tolist() == [24, 4, 12, 0, 16]
    assert dice(*boxes) == 0.5
    found = distance_scores(*boxes, axes, 2)
    assert found["asd"] == found["assd"] == 92 / 56 and found["hd95"] == 4
    counts = [distance_scores(*boxes, axes, tolerance)["nsd_count"] for tolerance in (0.9, 1, 2, 4)]
    assert counts == [24 / 56, 28 / 56, 40 / 56, 1]


def test_symmetric_and_directed_distance_differ_by_hand():
    """The label is the prediction and a further voxel, 5 mm away: nothing is far from the label."""
    pred = np.zeros((1, 1, 8), dtype=bool)
    pred[..., 0] = True
    label = pred.copy()
    label[..., 5] = True
    found = distance_scores(pred, label, np.eye(3), 1)
    assert (found["asd"], found["assd"], found["nsd_count"]) == (0, (0 + 2.5) / 2, 2 / 3)
    assert found["nsd_area"] == pytest.approx(2 / 3)  # three voxels' surfaces of one area


def test_sheared_axes_are_taken_as_they_are():
    """One step along the third axis of a tilted gantry: 3 mm up, 4 mm sideways."""
    pred, label = np.zeros((2, 3, 3, 3), dtype=bool)
    label[1, 1, 0] = pred[1, 1, 1] = True
    to_label, _ = surface_distances(pred, label, np.array([[1.0, 0, 0], [0, 1, 4], [0, 0, 3]]))
    assert to_label.tolist() == [5]


def test_tolerance_holds_for_steps_of_single_precision():
    """An affine in a file says 0.6666667 mm: three steps are within 2 mm."""
    pred, label = np.zeros((2, 6, 1, 1), dtype=bool)
    label[0], pred[3] = True, True
    found = distance_scores(pred, label, np.eye(3) * float(np.float32(2 / 3)), 2)
    assert found["nsd_count"] == found["nsd_area"] == 1


@pytest.mark.parametrize("axes", [ANISOTROPIC, OBLIQUE], ids=["straight", "oblique and flipped"])
def test_agrees_with_monai_where_definitions_do(axes):
    rng = np.random.default_rng(0)
    pred, label = (gaussian_filter(rng.normal(size=(30, 28, 20)), 3) > 0.01 for _ in range(2))
    found = distance_scores(pred, label, axes, 2.0)
    tensors = [torch.from_numpy(mask)[None, None] for mask in (pred, label)]
    arguments = {"include_background": True, "spacing": np.linalg.norm(axes, axis=0).tolist()}
    monai = {
        "asd": compute_average_surface_distance(*tensors, **arguments),
        "nsd_count": compute_surface_dice(*tensors, class_thresholds=[2.0], **arguments),
        "nsd_area": compute_surface_dice(*tensors, class_thresholds=[2.0], use_subvoxels=True, **arguments),
    }
    assert {name: found[name] for name in monai} == pytest.approx(
        {name: float(value) for name, value in monai.items()}, rel=1e-5
    )
    assert abs(found["nsd_area"] - found["nsd_count"]) > 0.01
    # the larger percentile of two directions instead of both directions' percentile
    larger = max(np.percentile(each, 95) for each in surface_distances(pred, label, axes))
    assert float(compute_hausdorff_distance(*tensors, percentile=95, **arguments)) == pytest.approx(larger, rel=1e-5)
    assert found["hd95"] < larger


def test_organs_in_their_boxes_score_as_in_the_whole_volume():
    """Two organs, one of them at the volume's border; the box must not move any surface."""
    pred, label = np.zeros((2, 20, 20, 20), dtype=np.uint8)
    label[0:7, 0:7, 12:20], pred[0:8, 1:7, 11:20] = 1, 1
    label[9:15, 9:15, 3:9], pred[10:15, 9:16, 2:9] = 2, 2
    pred[19, 0, 0] = 2
    for value, score in enumerate(organ_scores(pred, label, 3, ANISOTROPIC, 2.0), start=1):
        masks = pred == value, label == value
        found = {"dice": dice(*masks), **distance_scores(*masks, ANISOTROPIC, 2.0)}
        assert {name: getattr(score, name) for name in found} == pytest.approx(found, abs=1e-12)
