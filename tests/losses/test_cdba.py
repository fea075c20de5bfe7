# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from scdl_components.losses.cdba import CDBALoss, ClassMean, agreement, cdba_terms, distance, separation
from scdl_components.proxies import BidirectionalAssignment, ProxyBank, PublishedAssignment

IGNORE = 255


def build_bank(num_classes: int = 3, **kwargs) -> ProxyBank:
    torch.manual_seed(0)
    return ProxyBank(in_channels=4, num_classes=num_classes, embed_dim=8, num_samples=5, **kwargs).eval()


def tokens_and_weights(num_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 6, num_classes, generator=generator, dtype=torch.float64)
    return tokens, weights / weights.sum(-1, keepdim=True)


def test_values_of_a_case_done_by_hand():
    similarity = torch.tensor([[[0.5, -0.5], [0.0, 1.0]]])
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
    expected = torch.tensor([-0.5, -0.5, 0.0, 0.0]).exp().mean()
    torch.testing.assert_close(separation(similarity, weights), expected)
    torch.testing.assert_close(distance(similarity, weights), torch.tensor((0.5 + 0.5) / 2))


def test_agreement_is_the_symmetric_divergence_per_volume():
    assigned = BidirectionalAssignment()(torch.rand(2, 6, 3, dtype=torch.float64))
    q, r = assigned.q, assigned.r
    expected = ((q * (q / r).log()).sum() + (r * (r / q).log()).sum()) / 2
    torch.testing.assert_close(agreement(assigned), expected)


def test_tokens_without_label_are_left_out():
    bank = build_bank().double()
    tokens, weights = tokens_and_weights()
    noise = torch.randn(3, 5, 8, dtype=torch.float64)
    all_terms = cdba_terms(bank(tokens[:, :4], noise=noise), weights[:, :4])
    weights[:, 4:] = 0
    part = cdba_terms(bank(tokens, mask=weights.sum(-1) > 0, noise=noise), weights)
    torch.testing.assert_close(part, all_terms)


def test_unlabeled_tokens_take_the_consensus_as_fixed_weights():
    bank = build_bank().double()
    tokens, _ = tokens_and_weights()
    output = bank(tokens)
    product = (output.assigned.q * output.assigned.r).detach()
    weights = product / product.sum(-1, keepdim=True)
    for ours, expected in zip(cdba_terms(output), cdba_terms(output, weights)):
        torch.testing.assert_close(ours, expected)
        ours_grad, grad = (torch.autograd.grad(x, bank.proxies, retain_graph=True)[0] for x in (ours, expected))
        torch.testing.assert_close(ours_grad, grad)


@pytest.mark.parametrize("term", ["separation", "distance", "agreement"])
@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("assignment", [BidirectionalAssignment(), PublishedAssignment(tau_p2e=0.5)])
def test_gradients_agree_with_finite_differences(term, labeled, assignment):
    bank = build_bank(assignment=assignment).double()
    tokens, weights = tokens_and_weights()
    if not labeled:  # finite differences would see through the stop-gradient of the weights
        weights = bank(tokens).assigned.consensus()
    noise = torch.randn(3, 5, 8, dtype=torch.float64)

    def loss(embeddings: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
        swapped = {"proxies": proxies}
        output = torch.func.functional_call(bank, swapped, (embeddings,), {"noise": noise})
        return getattr(cdba_terms(output, weights), term)

    assert torch.autograd.gradcheck(loss, (tokens.requires_grad_(), bank.proxies.detach().clone().requires_grad_()))


@pytest.mark.parametrize("size", [(24,), (24, 16), (16, 24, 8)])
@pytest.mark.parametrize("num_classes", [1, 2, 5])
@pytest.mark.parametrize("labeled", [True, False])
def test_any_rank_and_number_of_classes(size, num_classes, labeled):
    loss = CDBALoss(build_bank(num_classes), voxels_per_token=8)
    features = torch.randn(2, 4, *size, requires_grad=True)
    label = torch.randint(0, num_classes, (2, 1, *size)) if labeled else None
    value = loss(features, label)
    value.backward()
    assert value.shape == () and value.isfinite()
    assert features.grad.isfinite().all() and features.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in (loss.bank.proxies, *loss.bank.encoder.parameters()))


def test_one_token_and_absent_classes():
    loss = CDBALoss(build_bank(5), voxels_per_token=8)
    value = loss(torch.randn(1, 4, 8, 8), torch.ones(1, 1, 8, 8))
    value.backward()
    assert value.isfinite() and loss.bank.proxies.grad.isfinite().all()


def test_ignored_voxels_have_no_influence():
    loss = CDBALoss(build_bank(), voxels_per_token=4, ignore_index=IGNORE)
    label = torch.randint(0, 3, (2, 1, 16, 16))
    label[:, :, :6] = IGNORE
    features = torch.randn(2, 4, 16, 16)
    spoiled = torch.where(label == IGNORE, 1e4 * torch.randn_like(features), features)
    values, gradients = [], []
    for x in (features, spoiled):
        torch.manual_seed(1)
        x.requires_grad_()
        values.append(loss(x, label))
        gradients.append(torch.autograd.grad(values[-1], x)[0])
    assert torch.equal(*values) and torch.equal(*gradients)
    assert gradients[0][:, :, :6].eq(0).all() and gradients[0][:, :, 6:].ne(0).any()


def test_a_batch_that_is_ignored_altogether_is_a_zero_with_a_graph():
    loss = CDBALoss(build_bank(), voxels_per_token=4, ignore_index=IGNORE)
    features = torch.randn(1, 4, 8, 8, requires_grad=True)
    value = loss(features, torch.full((1, 1, 8, 8), IGNORE))
    value.backward()
    assert value.item() == 0 and features.grad.eq(0).all() and loss.bank.proxies.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labeled", [True, False])
def test_autocast_is_finite_and_close_to_float32(dtype, labeled):
    loss = CDBALoss(build_bank(assignment=BidirectionalAssignment(tau=0.05)), voxels_per_token=4)
    features = torch.randn(2, 4, 16, 16)
    label = torch.randint(0, 3, (2, 1, 16, 16)) if labeled else None
    torch.manual_seed(1)
    full = loss(features, label)
    torch.manual_seed(1)
    low_features = features.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        low = loss(low_features, label)
    low.backward()
    assert low.dtype == torch.float32 and low_features.grad.isfinite().all()
    torch.testing.assert_close(low, full, rtol=2e-2, atol=2e-2)


def test_weights_of_the_terms():
    bank = build_bank()
    features = torch.randn(1, 4, 8, 8)

    def value(**kwargs) -> torch.Tensor:
        torch.manual_seed(1)
        return CDBALoss(bank, voxels_per_token=4, **kwargs)(features)

    torch.manual_seed(1)
    terms = cdba_terms(bank(torch.nn.functional.avg_pool2d(features, 4).flatten(2).transpose(1, 2)))
    only = value(distance_weight=0, agreement_weight=0)
    torch.testing.assert_close(only, terms.separation)
    torch.testing.assert_close(value(distance_weight=2, agreement_weight=0) - only, 2 * terms.distance)
    torch.testing.assert_close(value(distance_weight=0, agreement_weight=3) - only, 3 * terms.agreement)


def test_classes_count_alike_however_few_tokens_they_have():
    # class 0 has three tokens, class 1 one, class 2 none
    similarity = torch.tensor([[[0.9, -0.1, 0.0], [0.5, 0.2, 0.1], [0.1, 0.3, 0.2], [-0.2, 0.8, 0.3]]], dtype=torch.float64)
    weights = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1]][None]
    own = [(0.1 + 0.5 + 0.9) / 3, 0.2]
    torch.testing.assert_close(distance(similarity, weights, ClassMean()).item(), sum(own) / 2)
    e = torch.exp((1 - 2 * weights) * similarity)[0]
    within, without = [e[:3, 0].mean(), e[3, 1]], [e[3, 0], e[:3, 1].mean()]
    torch.testing.assert_close(separation(similarity, weights, ClassMean()), (sum(within) + sum(without)) / 4)
    # a hundred more tokens of class 0 change nothing where they are like those that it has
    more = torch.cat([similarity[:, :3].repeat(1, 33, 1), similarity], 1)
    more_weights = torch.cat([weights[:, :3].repeat(1, 33, 1), weights], 1)
    for term in (separation, distance):
        torch.testing.assert_close(term(more, more_weights, ClassMean()), term(similarity, weights, ClassMean()))
        assert (term(more, more_weights) - term(similarity, weights)).abs() > 0.01


def test_tokens_without_label_are_left_out_of_the_class_means():
    tokens, weights = tokens_and_weights()
    similarity = tokens[..., :3].tanh()
    part = weights.clone()
    part[:, 4:] = 0
    for term in (separation, distance):
        expected = term(similarity[:, :4], weights[:, :4], ClassMean())
        torch.testing.assert_close(term(similarity, part, ClassMean()), expected)
        assert term(similarity, torch.zeros_like(weights), ClassMean()) == 0
