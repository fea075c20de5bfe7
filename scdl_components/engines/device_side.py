# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Decisions that stay on the device: whether a step counts, without the host waiting to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Whether no tensor holds a NaN or an infinity: a boolean on their device."""
    # as clip_grad_norm_ has it: one pass over each, in a few kernels for all
    return torch.stack(torch._foreach_norm(list(tensors))).sum().isfinite()


def step_where(keep: Tensor, optimizer: torch.optim.Optimizer, buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    """One step of any optimizer, undone where ``keep`` is False: parameters, optimizer state and buffers.

    The copies cost a few milliseconds a hundred million numbers; to wait for a GPU costs it the time until it has
    work again, in every iteration. What an optimizer keeps on another device, e.g. Adam's count of steps, goes on.

    Args:
        keep: boolean scalar, on the device of the parameters.
        optimizer: with gradients in place.
        buffers: (tensor, its value from before).
    """
    before = {id(tensor): tensor.detach().clone() for tensor in _tensors(optimizer)}
    optimizer.step()
    for tensor in _tensors(optimizer):
        if tensor.device == keep.device:
            # state that the first step makes begins as if there had been none
            _restore(tensor, before.get(id(tensor), tensor.new_zeros(())), keep)
    for tensor, old in buffers:
        _restore(tensor, old, keep)


@torch.no_grad()
def _restore(tensor: Tensor, old: Tensor, keep: Tensor) -> None:
    tensor.copy_(torch.where(keep, tensor, old))


def _tensors(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield parameter
            yield from (value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor))
