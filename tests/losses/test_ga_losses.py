# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from scdl_components.losses.ga_ce import GACELoss
from scdl_components.losses.ga_dice import GADiceLoss

REFERENCE = Path(__file__).parents[1] / "reference" / "ga_losses.npz"


@pytest.mark.parametrize("case", ["all_classes", "absent_classes"])
@pytest.mark.parametrize(
    "name, loss", [("ga_dice", GADiceLoss()), ("ga_ce_k10", GACELoss(top_k=10)), ("ga_ce_k100", GACELoss(top_k=100))]
)
def test_reproduces_published_values_and_gradients(case, name, loss):
    arrays = np.load(REFERENCE)
    logits = torch.from_numpy(arrays[f"{case}/logits"]).requires_grad_()
    target = torch.from_numpy(arrays[f"{case}/target"])[:, None]
    value = loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(float(arrays[f"{case}/{name}"]), abs=1e-6)
    np.testing.assert_allclose(logits.grad, arrays[f"{case}/{name}_grad"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", [GADiceLoss(), GACELoss(top_k=10), GACELoss(top_k=100)])
def test_half_precision_stays_finite_and_close(loss):
    torch.manual_seed(0)
    logits = 20 * torch.randn(2, 5, 32, 32, 32)
    target = torch.randint(0, 4, (2, 1, 32, 32, 32))
    exact = loss(logits.double(), target)
    assert loss(logits.half(), target).item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize("loss", [GADiceLoss(), GACELoss(top_k=10), GACELoss(top_k=100)])
def test_sums_over_a_million_voxels_are_those_of_double_precision(loss):
    torch.manual_seed(0)
    shape = (2, 1, 96, 96, 96)
    target = torch.where(torch.rand(shape) > 0.97, torch.randint(0, 4, shape), 0)
    logits = torch.randn(2, 4, *shape[2:]).scatter_add_(1, target, torch.full(shape, 6.0))
    found, exact = logits.requires_grad_(), logits.detach().double().requires_grad_()
    values = [loss(x, target) for x in (found, exact)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-4)
    for value in values:
        value.backward()
    for channel in range(4):
        difference = (found.grad - exact.grad)[:, channel].norm() / exact.grad[:, channel].norm()
        assert difference < 1e-4, channel


def test_top_k_outside_the_percentages_is_refused():
    with pytest.raises(ValueError, match="percentage"):
        GACELoss(top_k=0)


@pytest.mark.parametrize("loss", [GADiceLoss(), GACELoss(top_k=10), GACELoss(top_k=100)])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3, 5), (2, 3, 6, 5)])
def test_gradients_agree_with_finite_differences(loss, shape):
    torch.manual_seed(0)
    logits = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, shape[1] - 1, (shape[0], 1, *shape[2:]))  # one class is absent
    if isinstance(loss, GADiceLoss):
        # the absent class's weight p / Σ(1−t) is a constant to its gradient, not to finite differences
        target[0, 0].view(-1)[0] = shape[1] - 1
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


@pytest.mark.parametrize("loss", [GADiceLoss(), GACELoss(top_k=10), GACELoss(top_k=100)])
def test_class_weights_of_one_change_nothing_and_others_weigh_classes(loss):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 12, 12, 12, dtype=torch.float64)
    target = torch.randint(0, 3, (2, 1, 12, 12, 12))
    plain = loss(logits, target)
    torch.testing.assert_close(loss(logits, target, torch.ones(3)), plain)
    torch.testing.assert_close(loss(logits, target, torch.full((3,), 2.0)), 2 * plain)
    weights = torch.eye(3, dtype=torch.float64)
    if not isinstance(loss, GACELoss) or loss.top_k == 100:  # the hardest are other voxels with each
        torch.testing.assert_close(sum(loss(logits, target, each) for each in weights), plain)
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(loss(logits, target, weights[1]), logits)
    if isinstance(loss, GACELoss):
        assert not grad[(target != 1).expand_as(grad)].any() and grad.any()
