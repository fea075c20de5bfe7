# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizer steps that count only where all is finite, decided on the device: the host never waits to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Tells whether no tensor holds a NaN or an infinity, as a boolean scalar on their device."""
    # as clip_grad_norm_ has it: one pass over each, in a few kernels for all
    return torch.stack(torch._foreach_norm(list(tensors))).sum().isfinite()


class Kept:
    """Holds what tensors are now, to put it back later.

    Args:
        tensors: of any types.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.pairs = [(tensor.detach(), tensor.detach().clone()) for tensor in tensors]

    def put_back(self, where: Tensor) -> None:
        """Puts it back where a boolean scalar is True; tensors on other devices than its own stay as they are."""
        for now, before in self.pairs:
            if now.device == where.device:
                torch.where(where, before, now, out=now)


def step_where(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Makes one step of any optimizer, undone where ``finite`` is False: parameters and the optimizer's state.

    State that the step makes is 0 then, as if there had been none. What an optimizer keeps on another device, e.g.
    Adam's count of steps beside parameters on a GPU, goes on.

    Args:
        finite: boolean scalar, on the device of the parameters.
        optimizer: with gradients in place.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    old = {id(tensor) for tensor in _state(optimizer)}
    kept = Kept([*parameters, *_state(optimizer)])
    optimizer.step()
    kept.put_back(~finite)
    for tensor in _state(optimizer):
        if id(tensor) not in old and tensor.device == finite.device:
            tensor.masked_fill_(~finite, 0)


def _state(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor))
