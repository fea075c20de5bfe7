# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from scdl_components.engines.identity import network_hash
from scdl_components.networks import DualStudent, VNet


class Scaled(torch.nn.Module):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.conv = torch.nn.Conv3d(1, 2, 1)
        torch.nn.init.ones_(self.conv.weight)
        torch.nn.init.zeros_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.factor


class Shifted(Scaled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + self.factor


def changed_weight() -> Scaled:
    network = Scaled()
    network.conv.bias.data[0] = 1
    return network


@pytest.mark.parametrize("made", [lambda network: network, torch.jit.script])
def test_each_network_has_a_hash_of_its_own(made):
    networks = [Scaled(), Scaled(2.0), Shifted(), changed_weight()]
    hashes = [network_hash(made(network), with_state=True) for network in networks]
    assert len(set(hashes)) == 4


def test_the_same_network_has_the_same_hash():
    network = Scaled()
    before = network_hash(network, with_state=True)
    assert network_hash(Scaled().eval(), with_state=True) == before
    # weights that are loaded later do not count, the students that run do
    first, second = (network_hash(DualStudent(VNet(1, 2, 2)), with_state=False) for _ in range(2))
    assert first == second != network_hash(DualStudent(VNet(1, 2, 2), active=[0]), with_state=False)
