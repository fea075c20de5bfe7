# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer

from scdl_components.inferers import ActivatedSlidingWindowInferer, once_for_constant, voxels_in, voxels_that_fit
from scdl_components.networks import DualStudent, VNet

REFERENCE = Path(__file__).parent / "reference" / "sliding_window.npz"


@pytest.mark.parametrize("case", ["larger", "smaller_than_patch"])
def test_published_windows_reproduce_the_published_scores(case):
    arrays = np.load(REFERENCE)
    network = DualStudent(VNet(in_channels=1, out_channels=5, num_filters=2)).eval()
    for name, student in zip("AB", network.students):
        prefix = f"{name}/"
        state = {k.removeprefix(prefix): torch.from_numpy(arrays[k]) for k in arrays.files if k.startswith(prefix)}
        student.load_state_dict(state)
    # windows of 16 voxels at strides 8, 8, 4: the published 96 at 32, 32, 16 in small
    inferer = ActivatedSlidingWindowInferer(
        torch.nn.Softmax(dim=1), roi_size=(16, 16, 16), overlap=(0.5, 0.5, 0.75), mode="constant", sw_batch_size=3
    )
    with torch.no_grad():
        score = inferer(torch.from_numpy(arrays[f"{case}/image"])[None, None], network)[0]
    np.testing.assert_allclose(score, arrays[f"{case}/score"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(score.argmax(0), arrays[f"{case}/label"])


class Counting(torch.nn.Module):
    """Counts the samples that reach a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.samples = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.samples += len(x)
        return self.network(x)


@pytest.mark.parametrize("sw_batch_size", [1, 3])
def test_windows_of_air_are_run_once(sw_batch_size):
    torch.manual_seed(0)
    network = Counting(VNet(in_channels=1, out_channels=3, num_filters=2).eval())
    image = torch.zeros(1, 1, 64, 32, 32)
    image[:, :, 50:, 20:, 20:] = torch.rand(14, 12, 12)
    settings = {"roi_size": (16, 16, 16), "overlap": 0.5, "mode": "gaussian", "sw_batch_size": sw_batch_size}
    with torch.no_grad():
        output = ActivatedSlidingWindowInferer(torch.nn.Identity(), **settings)(image, network)
        skipping, network.samples = network.samples, 0
        expected = SlidingWindowInferer(**settings)(image, network)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    # 2 of 7 windows along the first axis reach the tissue, 2 of 3 along each of the others; and one of air
    assert (skipping, network.samples) == (2 * 2 * 2 + 1, 7 * 3 * 3)


def test_constant_windows_of_another_value_have_an_answer_of_their_own():
    answers = once_for_constant(lambda x: x.sum(1, keepdim=True) + 1)(
        torch.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1, 1, 1).expand(3, 2, 2, 2, 2)
    )
    assert answers[:, 0, 0, 0, 0].tolist() == [1.0, 3.0, 1.0]


def test_volumes_are_put_together_where_they_fit():
    assert voxels_that_fit("cpu", 14) is None
    # 14 classes, their weights, the input and a copy: 17 floats a voxel
    assert voxels_in(17 * 4 * 1000, 14) == 1000
