# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that are undone on the device."""

import math

import pytest
import torch

from scdl_components.engines.finite import Backup, all_finite, step_where

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, foreach=True),
    "fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, fused=True),
    "adam": lambda p: torch.optim.AdamW(p, 0.1, amsgrad=True),
    "fused adam": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
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
        step_where(torch.tensor(keep), optimizer)


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


@pytest.mark.parametrize("name", ["sgd", "nesterov", "fused", "adam", "fused adam"])
def test_an_undone_first_step_leaves_no_momentum(name):
    ours, plain = parameters(), parameters()
    optimizers = OPTIMIZERS[name](ours), OPTIMIZERS[name](plain)
    step(optimizers[0], math.nan, keep=False)
    for optimizer in optimizers:
        step(optimizer, 0.5, keep=True)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain))


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool, torch.complex64],
)
def test_a_backup_is_restored_to_the_bit(dtype):
    values = torch.tensor([0.0, -0.0, 1.5, -3.0, 100.0]).to(dtype)
    if dtype.is_floating_point:
        values = torch.cat([values, torch.tensor([math.nan, math.inf, -math.inf, torch.finfo(dtype).max], dtype=dtype)])
    # a layout of its own, as channels-last parameters have
    tensor = values.repeat(2, 3, 2, 2, 1).to(memory_format=torch.channels_last_3d)
    before, backup = str(tensor.tolist()), Backup([tensor, tensor[:1]])
    tensor.copy_(tensor.flip(-1))
    changed = str(tensor.tolist())
    backup.restore(torch.tensor(False))
    assert str(tensor.tolist()) == changed
    backup.restore(torch.tensor(True))
    assert str(tensor.tolist()) == before != changed


def test_not_finite_is_what_holds_a_nan_or_an_infinity():
    assert all_finite([torch.ones(3), torch.zeros(2, 2)])
    for bad in (math.nan, math.inf, -math.inf):
        assert not all_finite([torch.ones(3), torch.tensor([0.0, bad])])
