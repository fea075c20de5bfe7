# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import nn

from scdl_components.memory import LiveBytes

SIZE = 4 * 10**6


def test_what_lives_counts_once_and_until_it_is_freed():
    with LiveBytes() as live:
        a = torch.ones(10**6)
        view = a.view(1000, 1000).t()[3:]
        b = a + 1
        a.mul_(2)
        del a, b
        c = view * 1.0
        del view, c
        torch.ones(1)
    assert [total for _, total in live.moments if total >= SIZE][-1] == SIZE + 1000 * 997 * 4
    assert live.peak == 2 * SIZE
    assert live.moments[-1] == ("aten.ones.default", 4)


def test_what_was_there_before_does_not_count_and_its_gradient_does():
    layer = nn.Linear(1000, 1000, bias=False)
    with LiveBytes(layer.parameters()) as live:
        layer.weight.detach().add_(1)
        assert live.peak == 0
        layer(torch.ones(1, 1000)).sum().backward()
    assert live.moments[-1][1] >= SIZE == layer.weight.grad.nbytes


def test_what_the_backward_pass_needs_lives_until_then():
    x = torch.ones(10**6, requires_grad=True)
    with LiveBytes([x]) as live:
        y = x.exp().sin().sum()  # both outputs are out of reach, the first is needed again
        torch.ones(1)
        kept = live.moments[-1][1]
        y.backward()
        x.grad = None
        torch.ones(1)
    assert SIZE <= kept < 2 * SIZE
    assert live.moments[-1][1] <= 8
