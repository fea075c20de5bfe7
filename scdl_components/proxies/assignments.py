# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Assignments: how tokens choose classes (q) and how classes choose tokens (r̄).

An assignment is called with the cosines between token embeddings and class means, [B, L, C], and an optional
[B, L] mask of the tokens that count; it returns an :class:`Assigned`. Everything is held as logarithms, so that no
probability underflows on the way to a divergence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..distributed import all_reduce_logsumexp
from ..tokens import full_precision


class Assigned(NamedTuple):
    """Both directions, read per token: rows of ``exp(log_q)`` and ``exp(log_r)`` sum to 1 over the classes.

    Attributes:
        log_q: [B, L, C], embedding→proxy: the class each token chooses.
        log_r: [B, L, C], proxy→embedding (r̄): the class that chooses each token.
    """

    log_q: Tensor
    log_r: Tensor

    @property
    def q(self) -> Tensor:
        """[B, L, C] embedding→proxy probabilities."""
        return self.log_q.exp()

    @property
    def r(self) -> Tensor:
        """[B, L, C] proxy→embedding probabilities, r̄."""
        return self.log_r.exp()

    def consensus(self) -> Tensor:
        """q ∘ r̄ renormalised over the classes, without gradient: weights [B, L, C] of tokens without label."""
        return (self.log_q + self.log_r).detach().softmax(-1)


@dataclass(frozen=True)
class BidirectionalAssignment:
    """Tokens choose among classes; each class spreads one unit of mass over tokens (docs/method.md).

    q_lc = softmax over c of cos/τ; r_cl = softmax over l of cos/τ; r̄_lc = r_cl / Σ_c' r_c'l. As every class hands
    out the same mass however few voxels it has, a tail class outweighs a head class where both are equally near.

    The mass is spread over the tokens of the **whole batch**, of all ranks: a crop rarely holds every organ, and a
    class that had to spend its mass inside a crop without it would claim tokens of others there.

    >>> cosines = torch.rand(2, 27, 14)
    >>> BidirectionalAssignment(tau=0.2)(cosines).r.sum(-1).allclose(torch.ones(2, 27))
    True

    Args:
        tau: temperature of both softmaxes.

    Raises:
        ValueError: when ``tau`` is not positive.
    """

    tau: float = 0.2

    def __post_init__(self) -> None:
        _check_temperature("tau", self.tau)

    def __call__(self, cosines: Tensor, mask: Tensor | None = None) -> Assigned:
        """Args: cosines [B, L, C]; mask [B, L] bool, False for tokens that receive no mass."""
        logits = full_precision(cosines) / self.tau
        receiving = logits
        if mask is not None:
            # finite, so that a batch without any valid token gives a uniform r̄ instead of NaN
            receiving = logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min / 2)
        log_mass = logits - all_reduce_logsumexp(receiving.flatten(0, 1).logsumexp(0))
        return Assigned(logits.log_softmax(-1), log_mass.log_softmax(-1))


@dataclass(frozen=True)
class PublishedAssignment:
    """Softmax over **classes** on both sides, as the published code does it.

    With equal temperatures both sides are the same and their divergence is 0: it then teaches nothing. Here to
    reproduce published numbers and to compare with.

    >>> bank = ProxyBank(in_channels=16, num_classes=14, assignment=PublishedAssignment())

    Args:
        tau_e2p: temperature of embedding→proxy.
        tau_p2e: temperature of proxy→embedding.

    Raises:
        ValueError: when a temperature is not positive.
    """

    tau_e2p: float = 0.2
    tau_p2e: float = 0.2

    def __post_init__(self) -> None:
        _check_temperature("tau_e2p", self.tau_e2p)
        _check_temperature("tau_p2e", self.tau_p2e)

    def __call__(self, cosines: Tensor, mask: Tensor | None = None) -> Assigned:
        """Args: cosines [B, L, C]; mask is accepted for the common interface, tokens do not meet here."""
        cosines = full_precision(cosines)
        return Assigned((cosines / self.tau_e2p).log_softmax(-1), (cosines / self.tau_p2e).log_softmax(-1))


def _check_temperature(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}={value}: a temperature must be positive, e.g. 0.2")
