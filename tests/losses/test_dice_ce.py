# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from scdl_components.losses import DiceCELoss

REFERENCE = Path(__file__).parents[1] / "reference" / "dhc.npz"


def sample(shape=(2, 5, 6, 4, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target in which the last class is absent."""
    torch.manual_seed(0)
    target = torch.randint(0, shape[1] - 1, (shape[0], 1, *shape[2:]))
    return torch.randn(shape, dtype=torch.float64, requires_grad=True), target


@pytest.mark.parametrize("case", ["loss_unweighted", "loss_weighted"])
def test_reproduces_published_values_and_gradients(case):
    arrays = np.load(REFERENCE)
    target, weights = (torch.from_numpy(arrays[key]) for key in ("loss/label", f"{case}/weights"))
    logits = torch.from_numpy(arrays["loss/logits"]).double().requires_grad_()
    entropy = DiceCELoss(lambda_dice=0)(logits, target[:, None], weights)
    assert entropy.item() == pytest.approx(float(arrays[f"{case}/ce"]), abs=1e-9)
    value = DiceCELoss()(logits, target[:, None], weights)
    # published is -Dice where 1 - Dice is here
    assert value.item() - weights[1:].mean().item() == pytest.approx(float(arrays[f"{case}/ce_dice"]), abs=1e-6)
    value.backward()
    np.testing.assert_allclose(logits.grad, arrays[f"{case}/ce_dice_grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.0, 0.5, 1.0, 2.0, 5.0], dtype=torch.float64)])
def test_gradients_agree_with_finite_differences(weights):
    logits, target = sample((2, 5, 3, 2, 4))
    assert torch.autograd.gradcheck(lambda x: DiceCELoss()(x, target, weights), logits)


def test_half_precision_stays_finite_and_close():
    torch.manual_seed(0)
    logits, target = 20 * torch.randn(2, 5, 32, 32, 32), torch.randint(0, 4, (2, 1, 32, 32, 32))
    weights = torch.rand(5, dtype=torch.float64)
    exact = DiceCELoss()(logits.double(), target, weights)
    assert DiceCELoss()(logits.half(), target, weights).item() == pytest.approx(exact.item(), rel=1e-2)


def test_voxels_of_no_weight_alone_make_an_entropy_of_zero():
    """All background, whose distribution-aware weight is 0: a mean over no weight is no NaN."""
    logits, _ = sample()
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0])
    value = DiceCELoss(lambda_dice=0)(logits, torch.zeros(2, 1, 6, 4, 8), weights)
    value.backward()
    assert value.item() == 0 and not logits.grad.any()
