# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from scdl_components.losses import CDBALoss
from scdl_components.losses.cdba import REDUCTIONS, by_class, by_paper, by_token
from scdl_components.losses.functional import symmetric_kl
from scdl_components.proxies import ProxyBank, ProxyOutput


def build_bank(num_classes: int = 3, **kwargs) -> ProxyBank:
    torch.manual_seed(0)
    return ProxyBank(in_channels=4, num_classes=num_classes, embed_dim=8, num_samples=5, **kwargs).eval()


def tokens_and_weights(num_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 6, num_classes, generator=generator, dtype=torch.float64)
    return tokens, weights / weights.sum(-1, keepdim=True)


def output(similarity: torch.Tensor, tau: float = 0.2) -> ProxyOutput:
    """Of embeddings whose cosines with means and samples are the same."""
    log_q = (similarity / tau).log_softmax(-1)
    return ProxyOutput(similarity, similarity, log_q, log_q)


def test_values_of_a_case_done_by_hand():
    similarity = torch.tensor([[[0.5, -0.5], [0.0, 1.0]]])
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
    terms = by_token(output(similarity), weights)
    torch.testing.assert_close(terms["separation"], torch.tensor([-0.5, -0.5, 0.0, 0.0]).exp().mean())
    torch.testing.assert_close(terms["distance"], torch.tensor((0.5 + 0.5) / 2))


def gap(cosines: torch.Tensor, w: torch.Tensor, c: int) -> torch.Tensor:
    own = (w[..., c] * cosines[..., c]).sum() / w[..., c].sum()
    others = ((1 - w[..., c]) * cosines[..., c]).sum() / (1 - w[..., c]).sum()
    return torch.exp(-(own - others))


@pytest.mark.parametrize("labeled", [True, False])
def test_the_paper_s_terms_are_the_written_definitions(labeled):
    cosines = torch.rand(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    weights = tokens_and_weights()[1] if labeled else None
    terms = by_paper(output(cosines, tau=0.3), weights)
    p = (cosines / 0.3).softmax(-1)
    torch.testing.assert_close(terms["e2p"], (p * (1 - cosines)).sum(-1).mean())
    w = p if weights is None else weights
    torch.testing.assert_close(terms["p2e"], torch.stack([gap(cosines, w, c) for c in range(3)]).mean())


def test_ours_count_every_class_that_is_there_once():
    cosines = torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    weights = torch.nn.functional.pad(tokens_and_weights()[1], (0, 1))  # class 3 is nowhere
    p = (cosines / 0.3).softmax(-1)
    terms = by_class(output(cosines, tau=0.3), weights)
    entropies = [-(weights[..., c] * p[..., c].log()).sum() / weights[..., c].sum() for c in range(3)]
    torch.testing.assert_close(terms["e2p"], torch.stack(entropies).mean())
    torch.testing.assert_close(terms["p2e"], torch.stack([gap(cosines, weights, c) for c in range(3)]).mean())
    unlabeled = by_class(output(cosines, tau=0.3), None)
    assert list(unlabeled) == ["p2e"]
    torch.testing.assert_close(unlabeled["p2e"], torch.stack([gap(cosines, p, c) for c in range(4)]).mean())


@pytest.mark.parametrize(("reduction", "num_counted", "push"), [(by_paper, 3, -1 / 4), (by_class, 2, 0)])
def test_p2e_counts_classes_alike_and_only_the_paper_s_pushes_an_absent_one_away(reduction, num_counted, push):
    # class 0 has three tokens, class 1 one, class 2 none
    similarity = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1]][None]
    reduction(output(similarity), weights)["p2e"].backward()
    expected = torch.tensor([[-1 / 3, 1 / 3, -push], [-1 / 3, 1 / 3, -push], [-1 / 3, 1 / 3, -push], [1, -1, -push]])
    torch.testing.assert_close(similarity.grad[0], expected.double() / num_counted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_stay_finite_where_a_class_has_no_token_and_the_loss_is_scaled(reduction):
    """As float16's gradient scaler does, and a large weight."""
    loss = CDBALoss(build_bank(), voxels_per_token=2, reduction=reduction)
    features = torch.randn(2, 4, 4, 4, 4, requires_grad=True)
    (2.0**16 * loss(features, torch.zeros(2, 1, 4, 4, 4))).backward()
    gradients = [features.grad, *(p.grad for p in loss.parameters() if p.grad is not None)]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_symmetric_kl_is_the_sum_of_both_divergences():
    q, r = torch.rand(2, 2, 6, 3, dtype=torch.float64).softmax(-1)
    expected = (q * (q / r).log()).sum(-1) + (r * (r / q).log()).sum(-1)
    torch.testing.assert_close(symmetric_kl(q.log(), r.log()), expected)


def test_unlabeled_tokens_take_the_consensus_as_fixed_weights():
    bank = build_bank(tau_p2e=0.5).double()
    output = bank(tokens_and_weights()[0])
    product = (output.log_q + output.log_r).exp().detach()
    expected_terms = by_token(output, product / product.sum(-1, keepdim=True))
    for name, ours in by_token(output, None).items():
        torch.testing.assert_close(ours, expected_terms[name])
        ours_grad, grad = (
            torch.autograd.grad(x, bank.proxies, retain_graph=True)[0] for x in (ours, expected_terms[name])
        )
        torch.testing.assert_close(ours_grad, grad)


TERMS = [(reduction, term) for reduction in ("class", "paper") for term in ("e2p", "p2e")]
TERMS += [("token", term) for term in ("separation", "distance", "symmetric_kl")]


@pytest.mark.parametrize("reduction, term", TERMS)
@pytest.mark.parametrize("labeled", [True, False])
def test_gradients_agree_with_finite_differences(reduction, term, labeled):
    bank = build_bank(tau_p2e=0.5).double()
    tokens, weights = tokens_and_weights()
    if not labeled:  # finite differences would see through the stop-gradient of the weights
        weights = bank(tokens).log_q.exp().detach()
    noise = torch.randn(3, 5, 8, dtype=torch.float64)

    def loss(embeddings: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
        swapped = {"proxies": proxies}
        output = torch.func.functional_call(bank, swapped, (embeddings,), {"noise": noise})
        return REDUCTIONS[reduction](output, weights)[term]

    assert torch.autograd.gradcheck(loss, (tokens.requires_grad_(), bank.proxies.detach().clone().requires_grad_()))


@pytest.mark.parametrize("size", [(24,), (24, 16), (16, 24, 8)])
@pytest.mark.parametrize("num_classes", [1, 2, 5])
@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_any_rank_and_number_of_classes(size, num_classes, labeled, reduction):
    loss = CDBALoss(build_bank(num_classes), voxels_per_token=8, reduction=reduction)
    features = torch.randn(2, 4, *size, requires_grad=True)
    label = torch.randint(0, num_classes, (2, 1, *size)) if labeled else None
    value = loss(features, label)
    value.backward()
    assert value.shape == () and value.isfinite()
    assert features.grad.isfinite().all() and features.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in (loss.bank.proxies, *loss.bank.encoder.parameters()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_autocast_is_finite_and_close_to_float32(dtype, labeled, reduction):
    loss = CDBALoss(build_bank(tau=0.05), reduction=reduction)
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
    bank = build_bank(tau_p2e=0.5)
    features = torch.randn(1, 4, 8, 8)

    def value(**weights: float) -> torch.Tensor:
        torch.manual_seed(1)
        return CDBALoss(bank, voxels_per_token=4, reduction="token", weights=weights)(features)

    torch.manual_seed(1)
    terms = by_token(bank(torch.nn.functional.avg_pool2d(features, 4).flatten(2).transpose(1, 2)), None)
    only = value(distance=0, symmetric_kl=0)
    torch.testing.assert_close(only, terms["separation"])
    torch.testing.assert_close(value(distance=2, symmetric_kl=0) - only, 2 * terms["distance"])
    torch.testing.assert_close(value(distance=0, symmetric_kl=3) - only, 3 * terms["symmetric_kl"])
    torch.testing.assert_close(value(), only + 0.1 * terms["distance"] + 0.1 * terms["symmetric_kl"])


def test_a_reduction_is_a_part_to_swap():
    loss = CDBALoss(build_bank(), reduction=lambda output, weights: {"mine": output.similarity.square().mean()})
    assert loss(torch.randn(1, 4, 8, 8)) > 0


@pytest.mark.parametrize("wrong", [{"reduction": "classes"}, {"weights": {"seperation": 1.0}}])
def test_unknown_names_are_refused_with_those_there_are(wrong):
    with pytest.raises(ValueError, match="expected"):
        CDBALoss(build_bank(), **wrong)
