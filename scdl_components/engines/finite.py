# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizer steps that change nothing where a value is not finite, decided on the device."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Tell on the device whether tensors hold neither NaN nor infinity; a boolean scalar."""
    # as in clip_grad_norm_: one pass over each, a few kernels for all
    return torch.stack(torch._foreach_norm(list(tensors))).sum().isfinite()


class Backup:
    """Copy tensors, to undo later what has changed in them.

    All of a device and type are copied as one: a GPU spends more on starting small kernels than on their work.

    Args:
        tensors: of any types and dense layouts, channels last for example.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.groups: dict[tuple, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            self.groups[tensor.device, tensor.dtype].append(_in_memory_order(tensor.detach()))
        self.before = {key: torch.cat(group) for key, group in self.groups.items()}

    def restore(self, where: Tensor) -> None:
        """Undo the changes where a boolean scalar is True, in the tensors on its device."""
        for (device, dtype), group in self.groups.items():
            if device == where.device:
                kept = torch.where(where, self.before[device, dtype], torch.cat(group))
                torch._foreach_copy_(group, kept.split([len(tensor) for tensor in group]))


def _in_memory_order(tensor: Tensor) -> Tensor:
    """View a dense tensor as a vector in the order of its memory."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    return tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True)).view(-1)


def step_where(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Make an optimizer's step, undone where ``finite`` is False.

    Parameters and the optimizer's state are then as before; state that the step made is 0. What an optimizer keeps on
    another device, e.g. Adam's count of steps beside parameters on a GPU, goes on.

    Args:
        finite: boolean scalar, on the device of the parameters.
        optimizer: with gradients in place.
    """
    known = dict(_state(optimizer))
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        # a fused one skips the step where it is told of an infinity, as GradScaler tells it
        optimizer.found_inf, optimizer.grad_scale = (~finite).float(), None
        optimizer.step()
        del optimizer.found_inf, optimizer.grad_scale
    else:
        backup = Backup([*(p for group in optimizer.param_groups for p in group["params"]), *known.values()])
        optimizer.step()
        backup.restore(~finite)
    for place, tensor in _state(optimizer):
        if place not in known and tensor.device == finite.device:
            torch.where(finite, tensor, torch.zeros_like(tensor), out=tensor)


def _state(optimizer: torch.optim.Optimizer) -> Iterator[tuple[tuple[int, str], Tensor]]:
    for parameter, values in optimizer.state.items():
        yield from (((id(parameter), name), value) for name, value in values.items() if isinstance(value, Tensor))
