# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet
from support.training_parts import NUM_CLASSES, training_parts

from scdl_components.losses import NetworkWithLoss
from scdl_components.memory import LiveBytes, iteration_memory
from scdl_components.memory.check import MARGIN


def iteration(parts, roi_size, labeled, unlabeled, amp=False):
    """One iteration as the trainer makes it, on random images."""
    network, loss_function, optimizer, feature_module, num_classes = parts
    network_with_loss = NetworkWithLoss(network.train(), loss_function.train(), feature_module)
    optimizer.zero_grad(set_to_none=True)
    images = torch.rand(labeled + unlabeled, 1, *roi_size)
    label = torch.randint(0, num_classes, (labeled, 1, *roi_size), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        loss, _ = network_with_loss(images, label, 0.5)
    loss.backward()
    optimizer.step()


def real_peak(parts, *args, **kwargs):
    """The most that lives in an iteration, what the optimizer keeps from the one before included."""
    network, loss_function, optimizer, *_ = parts = deepcopy(parts)
    iteration(parts, (16, 16, 32), 2, 2)
    state = [value for values in optimizer.state.values() for value in values.values()]
    known = [*network.parameters(), *network.buffers(), *loss_function.parameters(), *loss_function.buffers(), *state]
    with LiveBytes(known) as live:
        iteration(parts, *args, **kwargs)
    return live.peak + sum(value.nbytes for value in state)


@pytest.mark.parametrize("labeled, unlabeled, amp", [(2, 1, False), (1, 1, False), (2, 2, True)])
def test_a_larger_patch_takes_what_is_foretold(labeled, unlabeled, amp, record_property):
    parts = training_parts(num_filters=8)
    size = (48, 48, 32)
    estimate = iteration_memory(*parts, size, amp_dtype=torch.float16 if amp else None)
    assert estimate.patch == (16, 16, 32)
    foretold, real = estimate.bytes(size, labeled, unlabeled), real_peak(parts, size, labeled, unlabeled, amp=amp)
    record_property("foretold / real", f"{foretold / real:.3f}")
    assert foretold == pytest.approx(real, rel=0.02)


def test_another_network_without_unlabeled_samples():
    student = UNet(3, 1, NUM_CLASSES, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)
    parts = training_parts(8, student, feature_module="model.1")
    estimate = iteration_memory(*parts, (64, 64, 48), with_unlabeled=False)
    assert estimate.bytes((64, 64, 48), 2, 0) == pytest.approx(real_peak(parts, (64, 64, 48), 2, 0), rel=0.02)


def test_half_precision_needs_less():
    parts = training_parts(num_filters=4)
    full, half = (iteration_memory(*parts, (96, 96, 96), amp_dtype=dtype) for dtype in (None, torch.bfloat16))
    assert 0.5 < half.bytes((96, 96, 96), 2, 2) / full.bytes((96, 96, 96), 2, 2) < 0.75


def test_nothing_is_changed():
    network, loss_function, optimizer, *_ = parts = training_parts(num_filters=2)
    network.eval()
    before = deepcopy([network.state_dict(), loss_function.state_dict()])
    random = torch.get_rng_state()
    iteration_memory(*parts, (32, 32, 32))
    assert torch.equal(torch.get_rng_state(), random)
    for module, state in zip((network, loss_function), before):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        assert all(parameter.grad is None for parameter in module.parameters())
    assert not optimizer.state and not network.training and loss_function.training


def test_a_network_that_takes_no_other_size_says_so():
    class Fixed(torch.nn.Conv3d):
        def forward(self, x):
            return super().forward(x) + torch.zeros(64, 64, 64)  # as UNETR's position embeddings have it

    with pytest.raises(RuntimeError, match="size of tensor"):
        iteration_memory(*training_parts(2, Fixed(1, NUM_CLASSES, 1), feature_module=""), (64, 64, 64))


GROWTH = """
import sys, torch
sys.path[:0] = sys.argv[1:]
from memory.test_estimate import iteration, training_parts
def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
parts = training_parts(num_filters=8)
before = kilobytes("VmRSS")
for _ in range(2):
    iteration(parts, (64, 64, 64), 2, 1)
print((kilobytes("VmHWM") - before) * 1024)
"""


@pytest.mark.slow
def test_a_process_grows_by_the_estimate_and_no_more_than_the_margin(record_property):
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", GROWTH, str(tests), str(tests.parent)]
    real = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    foretold = iteration_memory(*training_parts(num_filters=8), (64, 64, 64)).bytes((64, 64, 64), 2, 1)
    record_property("growth / estimate", f"{real / foretold:.2f}")
    assert 0.95 < real / foretold < MARGIN
