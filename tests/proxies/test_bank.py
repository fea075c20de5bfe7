# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from scdl_components.proxies import PRIORS, ProxyBank


def build_bank(**kwargs) -> ProxyBank:
    torch.manual_seed(0)
    return ProxyBank(in_channels=4, num_classes=3, embed_dim=8, num_samples=5, **kwargs)


def test_similarity_is_the_mean_cosine_with_the_samples():
    bank = build_bank().double()
    embeddings = torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(3, 5, 8, dtype=torch.float64)
    cosines = F.cosine_similarity(embeddings[:, None, :, None], bank.sample_proxies(noise)[None, :, None], dim=-1)
    expected = cosines.mean(-1).transpose(1, 2)  # from the published [B, C, L, S]
    to_samples, to_means = bank.similarity(embeddings, noise)
    torch.testing.assert_close(to_samples, expected)
    torch.testing.assert_close(to_means, F.cosine_similarity(embeddings[:, :, None], bank.mu, dim=-1))
    upstream = torch.randn_like(expected)
    inputs = (embeddings, bank.proxies)
    ours, theirs = (torch.autograd.grad(a, inputs, upstream, retain_graph=True) for a in (to_samples, expected))
    torch.testing.assert_close(ours, theirs)


def test_proxy_samples_follow_mu_and_sigma():
    bank = build_bank()
    noise = torch.randn(3, 5, 8)
    expected = bank.proxies[:, None, :8] + F.softplus(bank.proxies[:, None, 8:]) * noise
    torch.testing.assert_close(bank.sample_proxies(noise), expected)
    assert bank.sample_proxies().shape == (3, 5, 8)


def test_the_spread_at_the_start_is_chosen():
    for sigma, largest_cosine in ({}, (0.85, 0.95)), ({"initial_sigma": 0.69}, (0.1, 0.25)):  # the latter as published
        torch.manual_seed(0)
        bank = ProxyBank(in_channels=4, num_classes=14, **sigma)
        torch.testing.assert_close(bank.sigma.mean().item(), sigma.get("initial_sigma", 0.05), rtol=0.05, atol=0)
        nearest = F.normalize(bank.sample_proxies(), dim=-1).mean(1).norm(dim=-1)  # of an embedding that lies there
        assert largest_cosine[0] < nearest.mean() < largest_cosine[1]


def test_embedding_samples_spread_around_their_embedding():
    bank = build_bank(num_embedding_samples=4)
    embeddings = torch.randn(2, 6, 8)
    assert bank.embedding_samples(embeddings).shape == (2, 6, 4, 8)
    noise = torch.randn(2, 6, 4, 8)
    samples = bank.embedding_samples(embeddings, noise)
    torch.testing.assert_close(samples, F.normalize(embeddings[:, :, None] + 0.05 * noise, dim=-1))
    samples.square().mul(torch.randn_like(samples)).sum().backward()
    assert bank.embedding_sigma.grad.abs().sum() > 0


def test_a_seed_fixes_everything():
    outputs = []
    for _ in range(2):
        bank = build_bank()  # seeds
        outputs.append(bank(torch.ones(2, 6, 4)).similarity)
    assert torch.equal(*outputs)
    assert not torch.equal(bank.sample_proxies(), bank.sample_proxies())


def test_targets_have_no_dropout_and_no_gradient():
    bank = build_bank(dropout=0.5).train()
    tokens = torch.randn(2, 6, 4, requires_grad=True)
    target = bank.encode_target(tokens)
    assert not target.requires_grad
    assert not torch.equal(bank.encode(tokens), target)
    assert torch.equal(bank.eval().encode(tokens), target)


@pytest.mark.parametrize("dropout", [-0.1, 1])
def test_dropout_that_leaves_nothing_is_refused(dropout):
    with pytest.raises(ValueError, match="dropout="):
        ProxyBank(in_channels=16, num_classes=4, dropout=dropout)


def test_priors_are_class_directions_by_likeness_and_token_directions():
    bank = build_bank(dropout=0.0, tau=0.3)
    tokens = torch.randn(2, 6, 4)
    torch.manual_seed(1)
    found = bank.priors(tokens, list(PRIORS)).unflatten(-1, (4, 8)).unbind(-2)
    torch.manual_seed(1)  # draws in the order of the names
    embeddings = bank.encode(tokens)
    similarities = bank.similarity(embeddings)
    directions = F.normalize(bank.mu, dim=-1)
    distribution, center = ((values / 0.3).softmax(-1) @ directions for values in similarities)
    bank.similarity(embeddings)
    samples = bank.embedding_samples(embeddings).mean(2)
    for prior, expected in zip(found, (distribution, center, samples, F.normalize(center, dim=-1))):
        torch.testing.assert_close(prior, expected)


@pytest.mark.parametrize("dim", [32, 64, 256])
def test_evaluation_takes_what_many_draws_tend_to(dim):
    torch.manual_seed(0)
    bank = ProxyBank(4, 3, dim, num_samples=20000, num_embedding_samples=20000, initial_sigma=0.2)
    bank.embedding_sigma.data.uniform_(0.0, 0.3)
    embeddings = torch.randn(1, 2, dim) / dim**0.5
    drawn = bank.similarity(embeddings)[0], bank.embedding_samples(embeddings).mean(2)
    bank.eval()
    expected = bank.similarity(embeddings)[0], bank.token_direction(embeddings)
    assert expected[1].norm(dim=-1).max() < 0.9  # shorter than a unit vector, as the mean of spread ones is
    for ours, theirs in zip(expected, drawn):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01)


def test_evaluation_draws_nothing():
    bank = build_bank().eval()
    tokens, state = torch.randn(2, 6, 4), torch.get_rng_state()
    assert torch.equal(bank.priors(tokens, list(PRIORS)), bank.priors(tokens, list(PRIORS)))
    assert torch.equal(torch.get_rng_state(), state)


def test_both_assignments_are_softmaxes_over_classes():
    bank = build_bank(tau=0.3, tau_p2e=0.5).eval()
    output = bank(torch.randn(2, 6, 4))
    for log, tau in ((output.log_q, 0.3), (output.log_r, 0.5)):
        torch.testing.assert_close(log.exp(), (output.cosines / tau).softmax(-1))
    assert torch.equal(*build_bank().eval()(torch.randn(2, 6, 4))[-2:])


@pytest.mark.parametrize("taus", [{"tau": 0}, {"tau_p2e": -1.0}])
def test_temperatures_must_be_positive(taus):
    with pytest.raises(ValueError, match="temperature must be positive"):
        build_bank(**taus)


def test_state_dict_restores_the_bank():
    source, target = build_bank().eval(), ProxyBank(4, 3, 8, 5).eval()
    target.load_state_dict(source.state_dict())
    tokens, noise = torch.randn(1, 6, 4), torch.randn(3, 5, 8)
    assert torch.equal(source(tokens, noise=noise).similarity, target(tokens, noise=noise).similarity)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_it_in_float32(dtype):
    bank = build_bank().eval()
    tokens, noise = torch.randn(2, 6, 4), torch.randn(3, 5, 8)
    full = bank(tokens, noise=noise)
    with torch.autocast("cpu", dtype=dtype):
        low = bank(tokens, noise=noise)
        prior = bank.priors(tokens, list(PRIORS))
        samples = bank.embedding_samples(bank.encode(tokens))
        low.similarity.sum().backward()  # a backward pass inside the context is tolerated, too
    assert {values.dtype for values in (*low, prior, samples)} == {torch.float32}
    torch.testing.assert_close(low.similarity, full.similarity)
    assert all(p.grad.isfinite().all() for p in (bank.proxies, bank.encoder[0].weight))
