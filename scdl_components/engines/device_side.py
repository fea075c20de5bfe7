# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Decisions that stay on the device: whether a step counts, without the host waiting to know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

# integers as wide as an element: their sums are exact whatever the bits stand for, NaN and infinity too
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Whether no tensor holds a NaN or an infinity: a boolean on their device."""
    # as clip_grad_norm_ has it: one pass over each, in a few kernels for all
    return torch.stack(torch._foreach_norm(list(tensors))).sum().isfinite()


class Snapshot:
    """What tensors hold now, to be put back on their device; a few kernels for all, however many there are.

    Args:
        tensors: of any types.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.now = _bits(tensors)
        self.before = {key: torch._foreach_add(bits, 0) for key, bits in self.now.items()}

    def restore(self, where: Tensor) -> None:
        """Puts back what was held. Once only.

        Args:
            where: boolean scalar; tensors on other devices than its own are left as they are.
        """
        for (device, dtype), bits in self.now.items():
            if device == where.device:
                change = self.before.pop((device, dtype))
                torch._foreach_sub_(change, bits)
                torch._foreach_mul_(change, where.to(dtype))
                torch._foreach_add_(bits, change)


def step_where(keep: Tensor, optimizer: torch.optim.Optimizer, others: Snapshot) -> None:
    """One step of any optimizer, undone where ``keep`` is False: parameters, optimizer state and others.

    The copies cost a few milliseconds a hundred million numbers; to wait for a GPU costs it the time until it has
    work again, in every iteration. What an optimizer keeps on another device, e.g. Adam's count of steps, goes on.

    Args:
        keep: boolean scalar, on the device of the parameters.
        optimizer: with gradients in place.
        others: of what else has changed since, e.g. running statistics.
    """
    tensors = {id(tensor): tensor for tensor in _tensors(optimizer)}
    before = Snapshot(tensors.values())
    optimizer.step()
    before.restore(~keep)
    # state that the first step makes begins as if there had been none
    for (device, dtype), bits in _bits(tensor for tensor in _tensors(optimizer) if id(tensor) not in tensors).items():
        if device == keep.device:
            torch._foreach_mul_(bits, keep.to(dtype))
    others.restore(~keep)


def _bits(tensors: Iterable[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[Tensor]]:
    """Tensors as integers of their width, by device and width: each list is one call."""
    result = defaultdict(list)
    for tensor in {id(tensor): tensor for tensor in tensors}.values():  # one that came twice would be put back twice
        dtype = INTEGERS[tensor.element_size()]
        result[tensor.device, dtype].append(tensor.detach().view(dtype))
    return result


def _tensors(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield parameter
            yield from (value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor))
