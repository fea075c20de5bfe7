# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The mechanism on an imbalanced 2-D mixture: 3,000 points of one class, 10 of the other, means 3 deviations apart.

Every method trains an encoder of the same size for the same steps, optimizer and data; recalls are measured on as many
fresh points of either class. The best possible mean of both recalls is 0.93. All figures are medians over the seeds.
"""

import math
from collections.abc import Callable
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scdl_components.losses import CDBALoss, SACLoss
from scdl_components.proxies import ProxyBank
from scdl_components.tokens import Tokens

pytestmark = pytest.mark.trains
NUM_HEAD, NUM_TAIL, DISTANCE = 3000, 10, 3.0
STEPS, LEARNING_RATE, EMBED_DIM = 250, 5e-3, 32
SEEDS = range(3)


def mixture(num_head: int, num_tail: int) -> tuple[torch.Tensor, torch.Tensor]:
    target = (torch.arange(num_head + num_tail) >= num_head).long()
    points = torch.randn(len(target), 2)
    points[:, 0] += DISTANCE * target
    return points, target


def recalls(predict: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float]:
    points, target = mixture(2000, 2000)
    with torch.no_grad():
        correct = predict(points) == target
    return correct[target == 0].float().mean().item(), correct[target == 1].float().mean().item()


def train(parameters, loss: Callable[[], torch.Tensor]) -> None:
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def build_bank() -> ProxyBank:
    return ProxyBank(2, 2, embed_dim=EMBED_DIM, dropout=0.0, initial_sigma=math.log(2))


def cross_entropy(seed: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    points, target = mixture(NUM_HEAD, NUM_TAIL)
    network = nn.Sequential(build_bank().encoder, nn.Linear(EMBED_DIM, 2))
    train(network.parameters(), lambda: F.cross_entropy(network(points), target))
    return recalls(lambda x: network(x).argmax(-1))


def scdl(seed: int, reduction: str, sac_weight: float = 2) -> tuple[float, float]:
    torch.manual_seed(seed)
    points, target = mixture(NUM_HEAD, NUM_TAIL)
    tokens = Tokens(points[None], F.one_hot(target, 2).float()[None])
    bank = build_bank()
    cdba, sac = CDBALoss(bank, reduction=reduction), SACLoss(bank)

    def loss() -> torch.Tensor:
        return sum(
            weight * value for value, weight in cdba.terms(bank(tokens.features), tokens.weights).values()
        ) + sac_weight * sac.value(tokens)

    train(bank.parameters(), loss)
    return recalls(lambda x: bank(x[None]).log_q[0].argmax(-1))  # nearest class mean


def tail(runs) -> float:
    return median(recall for _, recall in runs)


def test_the_paper_s_one_term_a_class_keeps_the_tail_class_that_cross_entropy_loses():
    plain = [cross_entropy(seed) for seed in SEEDS]
    whole = [scdl(seed, "class") for seed in SEEDS]
    assert tail(plain) < 0.5 < 0.75 < tail(whole)
    assert median(map(sum, whole)) / 2 > median(map(sum, plain)) / 2 + 0.1


def test_means_over_tokens_lose_it_as_well():
    assert tail(scdl(seed, "token") for seed in SEEDS) < 0.5
