# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import UNet
from torch import nn

from scdl_components.networks import DualStudent, VNet, fold_batch_norm


def trained(network: nn.Module) -> nn.Module:
    """With running statistics and affine parameters that are not the initial ones."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.double()


def num_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize(
    "network",
    [
        DualStudent(VNet(in_channels=1, out_channels=3, num_filters=2)),
        UNet(3, 1, 3, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, norm="batch"),
        Convolution(3, 1, 2, adn_ordering="NA", norm="batch", is_transposed=True, strides=2),
    ],
    ids=["students", "MONAI's U-Net", "transposed"],
)
def test_the_same_function_without_batch_norm(network):
    network = trained(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert num_batch_norms(folded) == 0 < num_batch_norms(network)
    image = torch.rand(2, 1, 16, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(image), network.eval()(image), rtol=1e-9, atol=1e-9)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_is_shared_or_behind_something_else_stays():
    conv = nn.Conv1d(2, 2, 1)
    shared = trained(nn.Sequential(conv, nn.BatchNorm1d(2), conv, nn.ReLU(), nn.BatchNorm1d(2)))
    folded = fold_batch_norm(shared)
    assert num_batch_norms(folded) == 2
    values = torch.rand(3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(folded(values), shared.eval()(values))


def test_a_chain_with_a_forward_of_its_own_stays():
    class Reversed(nn.Sequential):
        def forward(self, x):
            for module in reversed(self):
                x = module(x)
            return x

    network = trained(Reversed(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2)))
    folded = fold_batch_norm(network)
    values = torch.rand(3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(folded(values), network.eval()(values))
