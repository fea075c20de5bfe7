# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Features of any network: the outputs of its named modules."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import InputError


class StudentOutput(NamedTuple):
    """A student's logits [B, C, *spatial] and features [B, D, *feature_spatial] by module."""

    logits: Tensor
    features: Mapping[str, Tensor]


class WithFeatures(nn.Module):
    """A network that, in training, also returns the outputs of named modules.

    Args:
        network: any.
        names: of modules, as in ``named_modules()``.

    Raises:
        InputError: the network has no such module.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.last: dict[str, Tensor] = {}
        for name in names:
            find_module(network, name, "feature_module").register_forward_hook(_keeper(self.last, name))

    def forward(self, images: Tensor) -> StudentOutput:
        self.last.clear()
        logits = self.network(images)
        features = dict(self.last)
        self.last.clear()
        return StudentOutput(logits, features)


def find_module(network: nn.Module, name: str, key: str) -> nn.Module:
    """Get a network's module by its name in ``named_modules()``.

    Raises:
        InputError: there is none; the message names ``key`` of the config and lists the modules.
    """
    try:
        return network.get_submodule(name)
    except AttributeError:
        there_are = ", ".join(found for found, _ in network.named_modules() if found)
        raise InputError(f"{key}: {name!r} is no module of {type(network).__name__}; it has {there_are}") from None


def _keeper(last: dict[str, Tensor], name: str):
    # a hook that stays, for torch.compile looks at hooks once; a function, for copies of the network share it
    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if module.training:
            last[name] = output

    return keep
