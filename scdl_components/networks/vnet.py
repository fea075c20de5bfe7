# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""V-Net with added skips, as the published SCDL and its hosts train it."""

from typing import Any

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from ..errors import SettingError


class VNet(nn.Module):
    """Five-level V-Net: convolution-norm-ReLU blocks, stride-2 (transposed) convolutions, skips added.

    Module names and the state dict are those of ``reference/vnet.npz`` (docs/method.md), so that published
    weights load without translation. The last decoder features are the output of the module ``block_nine``.

    >>> VNet(in_channels=1, out_channels=14, num_filters=2)(torch.rand(2, 1, 32, 32, 32)).shape
    torch.Size([2, 14, 32, 32, 32])

    Args:
        in_channels: channels of the image.
        out_channels: number of classes, background included.
        num_filters: channels of the first level; level i has ``num_filters * 2**i``. 16 gives 9.45 M parameters.
        norm: MONAI's name of a normalisation layer ("batch", "instance", ("group", {"num_groups": 8}), ...) or None.
        spatial_dims: 2 or 3.
    """

    __jit_unused_properties__ = ["prior_places"]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_filters: int = 16,
        norm: str | tuple | None = "batch",
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        f = [num_filters * 2**level for level in range(5)]

        def block(num_convs: int, channels: int, first_in: int | None = None) -> nn.Module:
            layers = []
            for i in range(num_convs):
                inputs = first_in if i == 0 and first_in is not None else channels
                layers.append(Conv[Conv.CONV, spatial_dims](inputs, channels, kernel_size=3, padding=1))
            return _ConvNormReLU(layers, norm, spatial_dims)

        def resample(kind: str, inputs: int, outputs: int) -> nn.Module:
            return _ConvNormReLU(
                [Conv[kind, spatial_dims](inputs, outputs, kernel_size=2, stride=2)], norm, spatial_dims
            )

        self.block_one = block(1, f[0], in_channels)
        self.block_one_dw = resample(Conv.CONV, f[0], f[1])
        self.block_two = block(2, f[1])
        self.block_two_dw = resample(Conv.CONV, f[1], f[2])
        self.block_three = block(3, f[2])
        self.block_three_dw = resample(Conv.CONV, f[2], f[3])
        self.block_four = block(3, f[3])
        self.block_four_dw = resample(Conv.CONV, f[3], f[4])
        self.block_five = block(3, f[4])
        self.block_five_up = resample(Conv.CONVTRANS, f[4], f[3])
        self.block_six = block(3, f[3])
        self.block_six_up = resample(Conv.CONVTRANS, f[3], f[2])
        self.block_seven = block(3, f[2])
        self.block_seven_up = resample(Conv.CONVTRANS, f[2], f[1])
        self.block_eight = block(2, f[1])
        self.block_eight_up = resample(Conv.CONVTRANS, f[1], f[0])
        self.block_nine = block(1, f[0])
        self.out_conv = Conv[Conv.CONV, spatial_dims](f[0], out_channels, kernel_size=1)

    @property
    def prior_places(self) -> dict[str, dict[str, int]]:
        """Published places of priors: place -> modules with the channels of their outputs."""
        f = [self.out_conv.in_channels * 2**level for level in range(5)]
        stages = {"block_five_up": f[3], "block_six_up": f[2], "block_seven_up": f[1], "block_eight_up": f[0]}
        return {"head": {"block_nine": f[0]}, "stages": stages, "bottleneck": {"block_five": f[4]}}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits of an image.

        Args:
            x: [B, in_channels, *spatial], every spatial size a multiple of 16.

        Returns:
            [B, out_channels, *spatial].

        Raises:
            SettingError: when a spatial size is not a multiple of 16.
        """
        for size in x.shape[2:]:
            if size % 16 != 0:
                raise SettingError(f"VNet needs sizes that are multiples of 16, not {x.shape[2:]}: change roi_size")
        x1 = self.block_one(x)
        x2 = self.block_two(self.block_one_dw(x1))
        x3 = self.block_three(self.block_two_dw(x2))
        x4 = self.block_four(self.block_three_dw(x3))
        x5 = self.block_five(self.block_four_dw(x4))
        x = self.block_six(self.block_five_up(x5) + x4)
        x = self.block_seven(self.block_six_up(x) + x3)
        x = self.block_eight(self.block_seven_up(x) + x2)
        x = self.block_nine(self.block_eight_up(x) + x1)
        return self.out_conv(x)


class _ConvNormReLU(nn.Module):
    """Each convolution followed by norm and ReLU, in one Sequential named ``conv``."""

    def __init__(self, convolutions: list[Any], norm: str | tuple | None, spatial_dims: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for conv in convolutions:
            layers.append(conv)
            if norm is not None:
                layers.append(get_norm_layer(norm, spatial_dims=spatial_dims, channels=conv.out_channels))
            layers.append(nn.ReLU(inplace=True))
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)
