# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Assignments: how tokens choose classes (q) and how classes choose tokens (r̄).

An assignment is called with the cosines between token embeddings and class means, [B, L, C], and an optional
[B, L] mask of the tokens that count; it returns an :class:`Assigned`. Everything is held as logarithms, so that no
probability underflows on the way to a divergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..distributed import rank_logsumexp


class Assigned(NamedTuple):
    """Both directions, read per token: rows of ``exp(log_q)`` and ``exp(log_r)`` sum to 1 over the classes.

    Attributes:
        log_q: [B, L, C], embedding→proxy: the class each token chooses.
        log_r: [B, L, C], proxy→embedding (r̄): whose mass lies on each token.
        log_mass: [B, L, C], the mass (r) each class puts on each token before it is read per token; summed over B and L
            it is m_c of the class, and it is 0 on masked tokens. None where the assignment hands out no mass.
    """

    log_q: Tensor
    log_r: Tensor
    log_mass: Tensor | None = None

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


def full_precision(values: Tensor) -> Tensor:
    """float16 and bfloat16 to float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def log_partition(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Per class, the logarithm of what its unit of mass is divided by: logsumexp over all tokens of the batch.

    The one place where tokens meet across volumes and ranks.

    Args:
        logits: [B, L, C].
        mask: [B, L] bool, tokens that may receive mass.

    Returns:
        [C]
    """
    if mask is not None:
        # finite, so that a batch without any valid token gives a uniform r̄ instead of NaN
        logits = logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min / 2)
    return rank_logsumexp(logits.flatten(0, 1).logsumexp(0))


@dataclass(frozen=True)
class BidirectionalAssignment:
    """Tokens choose among classes, classes spread a mass each over tokens (docs/method.md).

    q_lc = softmax over c of cos/τ; r_cl = m_c · softmax over l of cos/τ; r̄_lc = r_cl / Σ_c' r_c'l. As every class hands
    out the same mass m_c = 1 however few voxels it has, a tail class outweighs a head class where both are equally near.

    A class that many tokens are a little near, but few are near, is then as likely as their own: most of what
    its mass is divided by comes from them. ``mass_exponent`` takes some of that back (docs/results.md).

    The mass is spread over the tokens of the **whole batch**, not of each volume: a crop rarely holds every
    organ, and a class that had to spend its mass inside a crop without it would claim tokens of others there.

    Args:
        tau: temperature of both softmaxes.
        mass_exponent: m_c is in proportion to (Σ_l q_lc)^mass_exponent, without gradient, and 1 in the mean over
            classes: with 0 the same for every class, with 1 what the tokens gave it, which makes r̄ nearly q.

    Raises:
        ValueError: when ``tau`` is not positive or ``mass_exponent`` not in [0, 1].
    """

    tau: float = 0.2
    mass_exponent: float = 0.0

    def __post_init__(self) -> None:
        _check_temperature("tau", self.tau)
        if not 0 <= self.mass_exponent <= 1:
            raise ValueError(f"mass_exponent={self.mass_exponent}: a number in [0, 1], e.g. 0.5")

    def __call__(self, cosines: Tensor, mask: Tensor | None = None) -> Assigned:
        """Args: cosines [B, L, C]; mask [B, L] bool, False for tokens that receive no mass."""
        logits = full_precision(cosines) / self.tau
        log_q = logits.log_softmax(-1)
        log_mass = logits - log_partition(logits, mask)
        if self.mass_exponent:
            log_shares = self.mass_exponent * log_partition(log_q.detach(), mask)
            log_mass = log_mass + log_shares.log_softmax(0) + math.log(log_shares.numel())
        log_r = log_mass.log_softmax(-1)
        if mask is not None:
            log_mass = log_mass.masked_fill(~mask[..., None], -torch.inf)
        return Assigned(log_q, log_r, log_mass)


@dataclass(frozen=True)
class PublishedAssignment:
    """Softmax over **classes** on both sides, as the published code does it.

    With equal temperatures both sides are the same and their divergence is 0: it then teaches nothing. Here to
    reproduce published numbers and to compare with.

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
