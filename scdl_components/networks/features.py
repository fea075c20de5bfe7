# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Features of any network: the output of one of its modules."""

from __future__ import annotations

from torch import Tensor, nn


class WithFeatures(nn.Module):
    """A network whose forward gives its output [B, C, *spatial] and, in a list, that of one of its modules.

    Args:
        network: any.
        name: of the module, as in ``named_modules()``; None for none: the list is then empty.

    Raises:
        ValueError: when the network has no such module.
    """

    def __init__(self, network: nn.Module, name: str | None) -> None:
        super().__init__()
        self.network = network
        self.last: list[Tensor] = []
        if name is None:
            return
        modules = dict(network.named_modules())
        if name not in modules:
            raise ValueError(
                f"feature_module {name!r} is not a module of {type(network).__name__}; it has {sorted(modules)[1:]}"
            )
        last = self.last

        # stays, for torch.compile looks at hooks once; a function, for copies of the network share it
        def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if module.training:
                last.append(output)

        modules[name].register_forward_hook(keep)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.last.clear()
        output = self.network(images)
        features = self.last[-1:]
        self.last.clear()
        return output, features
