# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from scdl_components.losses import SACLoss
from scdl_components.losses.functional import anchor_loss, class_anchors, class_tokens
from scdl_components.proxies import ProxyBank
from scdl_components.tokens import Tokens


def build_bank(num_classes: int = 3, **kwargs) -> ProxyBank:
    torch.manual_seed(0)
    return ProxyBank(in_channels=4, num_classes=num_classes, embed_dim=8, **kwargs)


def test_class_tokens_are_weighted_means_per_volume():
    tokens = torch.randn(2, 3, 4)
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    pooled, present = class_tokens(tokens, weights)
    torch.testing.assert_close(pooled[0, 1], (0.5 * tokens[0, 1] + tokens[0, 2]) / 1.5)
    torch.testing.assert_close(pooled[1, 0], (tokens[1, 0] + tokens[1, 1]) / 2)
    assert present.tolist() == [[True, True], [True, False]]


def test_anchors_average_directions_over_the_volumes_that_hold_the_class():
    embeddings = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 5.0], [7.0, 7.0]]])
    anchors, present = class_anchors(embeddings, torch.tensor([[True, True], [True, False]]))
    torch.testing.assert_close(anchors, torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    assert present.all()


def test_loss_is_the_mean_over_present_classes():
    means = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    anchors = torch.tensor([[0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])
    loss = anchor_loss(anchors, torch.tensor([True, True, False]), means)
    torch.testing.assert_close(loss, torch.tensor(0.5))


def test_only_the_means_move():
    bank = build_bank()
    features = torch.randn(2, 4, 16, 16, requires_grad=True)
    label = torch.randint(0, 2, (2, 1, 16, 16))  # class 2 is absent
    SACLoss(bank, voxels_per_token=4)(features, label).backward()
    assert features.grad is None
    assert all(p.grad is None for p in bank.encoder.parameters())
    mu, rho = bank.proxies.grad.chunk(2, dim=1)
    assert mu[:2].abs().sum(1).gt(0).all() and mu[2].eq(0).all() and rho.eq(0).all()


def test_dropout_does_not_move_the_anchors():
    bank = build_bank(dropout=0.5).train()
    features, label = torch.randn(2, 4, 16, 16), torch.randint(0, 3, (2, 1, 16, 16))
    assert torch.equal(SACLoss(bank)(features, label), SACLoss(bank)(features, label))


def test_gradient_agrees_with_finite_differences():
    bank = build_bank().double()
    tokens, weights = torch.randn(2, 6, 4, dtype=torch.float64), torch.rand(2, 6, 3, dtype=torch.float64).softmax(-1)
    embeddings = bank.encode_target(class_tokens(tokens, weights)[0])
    present = torch.tensor([[True, True, False], [True, False, False]])
    anchors, anywhere = class_anchors(embeddings, present)
    assert torch.autograd.gradcheck(lambda mu: anchor_loss(anchors, anywhere, mu), bank.mu.detach().requires_grad_())


@pytest.mark.trains
def test_steps_turn_the_means_to_their_classes():
    bank = build_bank()
    tokens = torch.randn(2, 60, 4)
    weights = F.one_hot(torch.randint(0, 3, (2, 60)), 3).float()
    optimizer = torch.optim.SGD([bank.proxies], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        SACLoss(bank).value(Tokens(tokens, weights)).backward()
        optimizer.step()
    for c in range(3):
        anchors = [bank.encode_target(tokens[b][weights[b, :, c] > 0].mean(0)) for b in range(2)]
        direction = F.normalize(torch.stack(anchors), dim=-1).mean(0)
        assert F.cosine_similarity(direction, bank.mu[c], dim=0) > 0.999


@pytest.mark.parametrize("size", [(24,), (24, 16), (16, 24, 8), (8, 8)])
@pytest.mark.parametrize("num_classes", [1, 4])
def test_any_rank_and_number_of_classes(size, num_classes):
    loss = SACLoss(build_bank(num_classes), voxels_per_token=8)
    value = loss(torch.randn(2, 4, *size), torch.randint(0, num_classes, (2, 1, *size)))
    value.backward()
    assert value.isfinite() and loss.bank.proxies.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite_and_close_to_float32(dtype):
    loss = SACLoss(build_bank(), voxels_per_token=4)
    features, label = torch.randn(2, 4, 16, 16), torch.randint(0, 3, (2, 1, 16, 16))
    with torch.autocast("cpu", dtype=dtype):
        low = loss(features.to(dtype), label)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss(features, label), rtol=2e-2, atol=2e-2)
