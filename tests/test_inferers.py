# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from scdl_components.inferers import ActivatedSlidingWindowInferer
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
