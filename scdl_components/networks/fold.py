# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Batch norm as part of the convolution before it: the same function, and no pass over the feature maps of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

Place = tuple[nn.Sequential, str]


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy for inference, in which each batch norm that directly follows a convolution has become part of it.

    Equal to ``network.eval()`` up to rounding. Found are neighbours in (nested) ``nn.Sequential``, as in the V-Net and
    in MONAI's ``Convolution``; whatever else the network holds stays as it is.
    """
    folded = deepcopy(network).eval()
    times = Counter(module for _, module in folded.named_modules(remove_duplicate=False))
    for module in list(folded.modules()):
        if is_chain(module):
            places = list(links(module))
            for conv, norm in zip(places, places[1:]):
                if times[at(conv)] == times[at(norm)] == 1:  # what is used twice cannot take on one neighbour
                    _fold(conv, norm)
    return folded


def is_chain(module: nn.Module | None) -> TypeGuard[nn.Sequential]:
    """Whether its children run one after another."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def links(chain: nn.Sequential) -> Iterator[Place]:
    """Where the modules of a chain stand, those of chains within it in their place."""
    for name, child in chain._modules.items():  # named_children leaves out what stands there twice
        if is_chain(child):
            yield from links(child)
        else:
            yield chain, name


def at(place: Place) -> nn.Module:
    """The module at a place."""
    chain, name = place
    return chain.get_submodule(name)


def _fold(conv_at: Place, norm_at: Place) -> None:
    conv, norm = at(conv_at), at(norm_at)
    if isinstance(conv, _ConvNd) and isinstance(norm, _BatchNorm) and norm.running_mean is not None:
        transposed = isinstance(conv, _ConvTransposeNd)
        setattr(*conv_at, fuse_conv_bn_eval(conv, norm, transpose=transposed))
        setattr(*norm_at, nn.Identity())
