# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from scdl_components.errors import InputError
from scdl_components.networks import DualStudent, VNet

REFERENCE = Path(__file__).parents[1] / "reference" / "vnet.npz"


@pytest.mark.parametrize("case, norm", [("batchnorm", "batch"), ("none", None)])
def test_reproduces_published_network(case, norm):
    arrays = np.load(REFERENCE)
    prefix = f"{case}/state/"
    state = {k.removeprefix(prefix): torch.from_numpy(arrays[k]) for k in arrays.files if k.startswith(prefix)}
    net = VNet(in_channels=1, out_channels=14, num_filters=state["block_one.conv.0.weight"].shape[0], norm=norm)
    net.load_state_dict(state, strict=True)
    net.double().eval()
    features = []
    net.block_nine.register_forward_hook(lambda module, inputs, output: features.append(output))
    with torch.no_grad():
        logits = net(torch.from_numpy(arrays[f"{case}/x"]))
    np.testing.assert_allclose(features[0], arrays[f"{case}/last_features"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits, arrays[f"{case}/logits"], rtol=0, atol=1e-6)


def test_full_size_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in VNet(1, 14).parameters()) == pytest.approx(9.45e6, rel=1e-3)


def test_size_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="multiples of 16.*24"):
        VNet(1, 2, num_filters=1)(torch.zeros(1, 1, 16, 16, 24))


def test_students_differ_and_their_logits_are_averaged():
    torch.manual_seed(0)
    net = DualStudent(VNet(1, 3, num_filters=2)).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    a, b = (student(x) for student in net.students)
    assert not torch.allclose(a, b)
    torch.testing.assert_close(net(x), (a + b) / 2)


@pytest.mark.parametrize("active, expected", [(None, [0, 1]), ([1, 0], [0, 1]), ([0], [0]), (1, [1])])
def test_active_students_are_averaged_and_the_others_not_run(active, expected):
    torch.manual_seed(0)
    net = DualStudent(VNet(1, 3, num_filters=2), active=active).eval()
    run = []
    for index, student in enumerate(net.students):
        student.register_forward_hook(lambda *_, index=index: run.append(index))
    x = torch.randn(1, 1, 16, 16, 16)
    mean = sum(net.students[index](x) for index in expected) / len(expected)
    run.clear()
    torch.testing.assert_close(net(x), mean)
    assert run == expected


@pytest.mark.parametrize("active", [[2], [-1], [], [0, 0], ["A"], [True], "0"])
def test_students_that_there_are_not_are_named(active):
    with pytest.raises(InputError, match=re.escape(f"students is {active!r}")):
        DualStudent(VNet(1, 3, num_filters=1), active=active)


@pytest.mark.parametrize("active", [None, [1]])
def test_scripts(active):
    net = DualStudent(VNet(1, 3, num_filters=2), active=active).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_two_dimensional():
    assert VNet(1, 4, num_filters=2, spatial_dims=2)(torch.zeros(2, 1, 32, 16)).shape == (2, 4, 32, 16)
