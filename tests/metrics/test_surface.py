# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_surface_dice
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from scdl_components.metrics.scores import organ_scores
from scdl_components.metrics.surface import dice, distance_scores, surface_distances

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "metrics.npz")
ANISOTROPIC = np.diag([1.5, 1.5, 3.0])


def reference_masks(case):
    return [np.unpackbits(REFERENCE[f"{case}/{side}"])[: 40**3].reshape([40] * 3) for side in ("pred", "truth")]


def two_boxes():
    """Cubes of 4 voxels, the prediction two voxels further along the first axis."""
    pred, label = np.zeros((2, 12, 9, 9), dtype=bool)
    label[2:6, 2:6, 2:6] = pred[4:8, 2:6, 2:6] = True
    return pred, label


@pytest.mark.parametrize("case", ["near", "far", "one_voxel"])
@pytest.mark.parametrize("suffix, axes", [("", np.eye(3)), ("_aniso", ANISOTROPIC)])
def test_published_numbers(case, suffix, axes):
    pred, label = reference_masks(case)
    found = distance_scores(*surface_distances(pred > 0, label > 0, axes), 2.0)
    assert dice(pred, label) == pytest.approx(float(REFERENCE[f"{case}/dice"]), abs=1e-6)
    for name in ("asd", "hd95"):
        assert found[name] == pytest.approx(float(REFERENCE[f"{case}/{name}{suffix}"]), abs=1e-6)


def test_two_shifted_boxes_by_hand():
    """Surfaces of 56 voxels; steps of 2, 1, 1 mm. The far face is 4 mm off (16 voxels), the next ring 2 mm (12), two
    rings coincide (24), and the near face's inner voxels are 1 mm from the other's ring (4)."""
    to_label, to_pred = surface_distances(*two_boxes(), np.diag([2.0, 1.0, 1.0]))
    for distances in (to_label, to_pred):
        assert np.bincount(distances.astype(int)).tolist() == [24, 4, 12, 0, 16]
    assert dice(*two_boxes()) == 0.5
    found = distance_scores(to_label, to_pred, 2)
    assert found["asd"] == found["assd"] == 92 / 56 and found["hd95"] == 4
    found = [distance_scores(to_label, to_pred, tolerance)["nsd"] for tolerance in (0.9, 1, 2, 4)]
    assert found == [24 / 56, 28 / 56, 40 / 56, 1]


def test_symmetric_and_directed_distance_differ_by_hand():
    """The label is the prediction and a further voxel, 5 mm away: nothing is far from the label."""
    pred = np.zeros((1, 1, 8), dtype=bool)
    pred[..., 0] = True
    label = pred.copy()
    label[..., 5] = True
    found = distance_scores(*surface_distances(pred, label, np.eye(3)), 1)
    assert (found["asd"], found["assd"], found["nsd"]) == (0, (0 + 2.5) / 2, 2 / 3)


def test_oblique_and_flipped_axes_change_nothing():
    axes = np.diag([0.7, 0.9, 2.5])
    turned = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ axes @ np.diag([-1, 1, -1])
    straight, oblique = (surface_distances(*two_boxes(), each) for each in (axes, turned))
    np.testing.assert_allclose(np.concatenate(straight), np.concatenate(oblique), rtol=1e-12)


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
    distances = surface_distances(pred, label, np.eye(3) * float(np.float32(2 / 3)))
    assert distance_scores(*distances, 2)["nsd"] == 1


def test_agrees_with_monai_where_definitions_do():
    rng = np.random.default_rng(0)
    pred, label = (gaussian_filter(rng.normal(size=(30, 28, 20)), 3) > 0.01 for _ in range(2))
    found = distance_scores(*surface_distances(pred, label, ANISOTROPIC), 3.0)
    tensors = [torch.from_numpy(mask)[None, None] for mask in (pred, label)]
    arguments = {"include_background": True, "spacing": [1.5, 1.5, 3.0]}
    nsd = compute_surface_dice(*tensors, class_thresholds=[3.0], **arguments)
    assert float(nsd) == pytest.approx(found["nsd"], rel=1e-5)
    asd = compute_average_surface_distance(*tensors, **arguments)
    assert float(asd) == pytest.approx(found["asd"], rel=1e-5)


def test_organs_in_their_boxes_score_as_in_the_whole_volume():
    """Two organs, one of them at the volume's border; the box must not move any surface."""
    pred, label = np.zeros((2, 20, 20, 20), dtype=np.uint8)
    label[0:7, 0:7, 12:20], pred[0:8, 1:7, 11:20] = 1, 1
    label[9:15, 9:15, 3:9], pred[10:15, 9:16, 2:9] = 2, 2
    pred[19, 0, 0] = 2
    for value, score in enumerate(organ_scores(pred, label, 3, ANISOTROPIC, 2.0), start=1):
        found = distance_scores(*surface_distances(pred == value, label == value, ANISOTROPIC), 2.0)
        assert score.dice == dice(pred == value, label == value)
        assert {name: getattr(score, name) for name in found} == pytest.approx(found, abs=1e-12)
