# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the published SCDL module gave in float64 (tests/reference/scdl_module.npz) is reproduced by our parts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scdl_components.losses.cdba import by_token
from scdl_components.losses.functional import anchor_loss, class_anchors
from scdl_components.proxies import ProxyBank

REFERENCE = Path(__file__).parents[1] / "reference" / "scdl_module.npz"
# case -> temperatures of the bank
CASES = {"labelled": {}, "unlabelled": {}, "taus_differ": {"tau": 0.2, "tau_p2e": 0.5}}


def load(case: str) -> dict[str, torch.Tensor]:
    with np.load(REFERENCE) as arrays:
        return {key.split("/")[1]: torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith(f"{case}/")}


def build_bank(arrays: dict[str, torch.Tensor], temperatures: dict[str, float]) -> ProxyBank:
    num_classes, num_samples, embed_dim = arrays["eps"].shape
    bank = ProxyBank(arrays["x"].shape[-1], num_classes, embed_dim, num_samples, **temperatures).double().eval()
    linears = [layer for layer in bank.encoder if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        bank.proxies.copy_(arrays["proxies"])
        for i, linear in enumerate(linears):
            linear.weight.copy_(arrays[f"enc_w{i}"])
            linear.bias.copy_(arrays[f"enc_b{i}"])
    return bank


def assert_close(ours: torch.Tensor, published: torch.Tensor) -> None:
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_losses_assignments_prior_and_gradients(case):
    arrays = load(case)
    bank = build_bank(arrays, CASES[case])
    tokens = arrays["x"].requires_grad_()
    output = bank(tokens, noise=arrays["eps"])
    terms = by_token(output, arrays.get("y_dist"))
    proxy_loss = terms["separation"] + 0.1 * terms["distance"]
    assert_close(proxy_loss, arrays["proxy_loss"])
    assert_close(terms["symmetric_kl"] * arrays["x"].shape[1], arrays["kl"])  # ours is a mean over tokens
    assert_close(output.log_q.exp(), arrays["assign"])
    assert_close(bank.priors(tokens, ["published"]), arrays["prior"])
    grad_tokens, grad_proxies = torch.autograd.grad(proxy_loss, (tokens, bank.proxies))
    assert_close(grad_tokens, arrays["grad_x"])
    assert_close(grad_proxies, arrays["grad_proxies"])


@pytest.mark.parametrize("case", ["labelled", "taus_differ"])
def test_anchor_loss_and_gradient(case):
    arrays = load(case)
    bank = build_bank(arrays, CASES[case])
    # the file lists (volume, class) pairs; no class is in more than two volumes
    embeddings = torch.zeros(2, bank.num_classes, bank.embed_dim, dtype=torch.float64)
    present = torch.zeros(2, bank.num_classes, dtype=torch.bool)
    for embedding, c in zip(bank.encode_target(arrays["class_tokens"]), arrays["class_index"].long().tolist()):
        volume = int(present[0, c])
        embeddings[volume, c] = embedding
        present[volume, c] = True
    loss = anchor_loss(*class_anchors(embeddings, present), bank.mu)
    assert_close(loss, arrays["anchor_loss"])
    (grad,) = torch.autograd.grad(loss, bank.proxies)
    assert_close(grad, arrays["grad_anchor_proxies"])
