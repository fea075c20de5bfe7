# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that are undone on the device."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scdl_components.engines.device_side import Snapshot, all_finite, step_where

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.AdamW(p, 0.1, amsgrad=True),
    "rprop": lambda p: torch.optim.Rprop(p, 0.1),
}


def parameters(number: int = 3) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (), (2, 2, 2, 3, 3)]
    return [torch.nn.Parameter(torch.randn(shapes[i % 3], generator=generator)) for i in range(number)]


def step(optimizer, gradient: float, keep=None) -> None:
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.full_like(p, gradient)
    if keep is None:
        optimizer.step()
    else:
        step_where(torch.tensor(keep), optimizer, Snapshot([]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_that_are_kept_are_the_optimizers_own(name):
    ours, plain = parameters(), parameters()
    optimizers = OPTIMIZERS[name](ours), OPTIMIZERS[name](plain)
    for gradient in (0.5, -1.0, 0.25):
        step(optimizers[0], gradient, keep=True)
        step(optimizers[1], gradient)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_a_step_that_is_undone_leaves_no_trace(name, bad):
    ours = parameters()
    optimizer = OPTIMIZERS[name](ours)
    step(optimizer, 0.5, keep=True)
    tensors = [t for p in ours for t in (p, *optimizer.state[p].values())]
    before = [t.detach().clone() for t in tensors]
    step(optimizer, bad, keep=False)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before))


def test_an_undone_first_step_leaves_no_momentum():
    ours, plain = parameters(), parameters()
    optimizers = OPTIMIZERS["sgd"](ours), OPTIMIZERS["sgd"](plain)
    step(optimizers[0], math.nan, keep=False)
    for optimizer in optimizers:
        step(optimizer, 0.5, keep=True)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool, torch.complex64]
)
def test_a_snapshot_gives_back_every_bit(dtype):
    values = torch.tensor([0.0, -0.0, 1.5, -3.0, 100.0]).to(dtype)
    if dtype.is_floating_point:
        values = torch.cat([values, torch.tensor([math.nan, math.inf, -math.inf, torch.finfo(dtype).max], dtype=dtype)])
    # a layout of its own, as channels-last parameters have
    tensor = values.repeat(6, 1).t().clone()[:, ::2]
    before = tensor.clone()
    kept = Snapshot([tensor])
    tensor.copy_(tensor.flip(0))
    changed = tensor.clone()
    kept.restore(torch.tensor(False))
    assert str(tensor.tolist()) == str(changed.tolist())
    kept = Snapshot([tensor])
    tensor.copy_(before)
    kept.restore(torch.tensor(True))
    assert str(tensor.tolist()) == str(changed.tolist())


def test_a_tensor_that_is_named_twice_is_put_back_once():
    tensor = torch.tensor([1.0, 2.0])
    kept = Snapshot([tensor, tensor])
    tensor.fill_(torch.nan)
    kept.restore(torch.tensor(True))
    assert tensor.tolist() == [1.0, 2.0]


def test_the_number_of_calls_does_not_grow_with_the_number_of_tensors():
    class Calls(TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.number += "view" not in str(function) and "detach" not in str(function)
            return function(*args, **(kwargs or {}))

    def calls(number: int) -> int:
        optimizer = torch.optim.SGD(parameters(number), 0.1, momentum=0.9, foreach=True)
        step(optimizer, 0.5)
        with Calls() as counted:
            step_where(all_finite([p.grad for p in optimizer.param_groups[0]["params"]]), optimizer, Snapshot([]))
        return counted.number

    assert calls(30) == calls(3)
