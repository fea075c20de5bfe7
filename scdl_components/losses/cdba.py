# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""CDBA: class distributions and embeddings pulled together from both sides (arXiv 2603.05202; docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..distributed import count_per_rank, rank_sum, world_size
from ..proxies.assignments import Assigned, full_precision
from ..proxies.bank import ProxyBank, ProxyOutput
from ..proxies.tokens import token_mask, tokenize


class CDBATerms(NamedTuple):
    """The unweighted parts of CDBA, scalars.

    The agreement is L_kl over the number of a volume's tokens: one weight then suits every grid.
    """

    separation: Tensor
    distance: Tensor
    agreement: Tensor


class TokenMean:
    """Every token counts alike, as published: a class counts by the tokens it has, and background has most.

    An averaging turns values [B, L, C] of tokens and classes, with token labels w [B, L, C], into a scalar; tokens
    whose row of w is zero are left out.
    """

    def of_all(self, values: Tensor, weights: Tensor) -> Tensor:
        """Of each token against each class."""
        return token_mean(values.mean(-1), token_mask(weights))

    def of_own(self, values: Tensor, weights: Tensor) -> Tensor:
        """Of each token against its classes."""
        return token_mean((weights * values).sum(-1), token_mask(weights))


class ClassMean:
    """Every class that is present counts alike, and for each the tokens with it as much as those without it.

    With the mean over tokens small organs are lost: background's tokens outnumber an adrenal gland's by thousands
    (docs/results.md). A change to the paper's equations.
    """

    def of_all(self, values: Tensor, weights: Tensor) -> Tensor:
        """Of each token against each class."""
        outside = (1 - weights) * token_mask(weights)[..., None]
        within, without = class_means(values, weights), class_means(values, outside)
        return present_mean((within + without) / 2, weights)

    def of_own(self, values: Tensor, weights: Tensor) -> Tensor:
        """Of each token against its classes."""
        return present_mean(class_means(values, weights), weights)


Averaging = TokenMean | ClassMean


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [B, L] over the tokens of ``mask`` [B, L]; 0, with a graph, where there are none."""
    return values.masked_fill(~mask, 0).sum() / count_per_rank(mask.sum())


def class_means(values: Tensor, weights: Tensor) -> Tensor:
    """Σ w v / Σ w of each class [C] over tokens, of ``values`` and ``weights`` [B, L, C]; 0 where Σ w is 0."""
    total = rank_sum(weights.sum((0, 1))) / world_size()
    return (weights * values).sum((0, 1)) / total.clamp_min(torch.finfo(total.dtype).tiny)


def present_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of ``values`` [C] over the classes with any of the weights [B, L, C]; 0, with a graph, where none is."""
    present = rank_sum(weights.sum((0, 1))) > 0
    return (values * present).sum() / present.sum().clamp_min(1)


def separation(similarity: Tensor, weights: Tensor, averaging: Averaging = TokenMean()) -> Tensor:
    """L_sep = mean over classes and tokens of exp(−(2 w_lc − 1) a_lc).

    Args:
        similarity: a, [B, L, C].
        weights: w, [B, L, C]; tokens whose row is zero are left out.
        averaging: which mean.
    """
    similarity = full_precision(similarity)
    return averaging.of_all(torch.exp((1 - 2 * weights) * similarity), weights)


def distance(similarity: Tensor, weights: Tensor, averaging: Averaging = TokenMean()) -> Tensor:
    """L_dist = mean over tokens of Σ_c w_lc (1 − a_lc).

    Args:
        similarity: a, [B, L, C].
        weights: w, [B, L, C]; tokens whose row is zero are left out.
        averaging: which mean.
    """
    return averaging.of_own(1 - full_precision(similarity), weights)


def agreement(assigned: Assigned, mask: Tensor | None = None) -> Tensor:
    """L_kl = KL(q‖r̄) + KL(r̄‖q), summed over tokens and classes and divided by B.

    Written as Σ (q − r̄)(log q − log r̄), whose every summand is non-negative.

    Args:
        assigned: both assignments, [B, L, C].
        mask: [B, L] bool, tokens that count; all if None.
    """
    divergence = ((assigned.q - assigned.r) * (assigned.log_q - assigned.log_r)).sum(-1)
    if mask is not None:
        divergence = divergence.masked_fill(~mask, 0)
    return divergence.sum() / volumes_per_rank(divergence)


def volumes_per_rank(values: Tensor) -> Tensor:
    """B of values [B, ...], over ranks its mean."""
    return count_per_rank(values.new_full((), values.shape[0]))


def cdba_terms(
    output: ProxyOutput, weights: Tensor | None = None, averaging: Averaging = TokenMean()
) -> CDBATerms:
    """Separation, distance and agreement of one set of tokens.

    Args:
        output: what the proxy bank made of the tokens; with ``weights``, it should have been given their
            ``token_mask``, so that ignored tokens receive no mass.
        weights: token labels w [B, L, C]; None for unlabelled tokens, which take stop-gradient of q ∘ r̄ renormalised
            over the classes.
        averaging: of separation and distance.
    """
    all_tokens = torch.ones_like(output.similarity[..., 0], dtype=torch.bool)
    mask = all_tokens if weights is None else token_mask(weights)
    tokens_per_volume = count_per_rank(mask.sum()) / volumes_per_rank(output.similarity)
    weights = output.assigned.consensus() if weights is None else weights.to(output.similarity.dtype)
    return CDBATerms(
        separation(output.similarity, weights, averaging),
        distance(output.similarity, weights, averaging),
        agreement(output.assigned, mask) / tokens_per_volume,
    )


class CDBALoss(nn.Module):
    """L_sep + ``distance_weight`` L_dist + ``agreement_weight`` L_kl / L of a feature map.

    Usable alone in any PyTorch code; ``bank`` is a submodule, so ``loss.parameters()`` belong in the optimizer:

        bank = ProxyBank(in_channels=16, num_classes=14)
        loss = CDBALoss(bank)(features, label)

    Args:
        bank: the class distributions, shared with :class:`~scdl_components.losses.sac.SACLoss` where both are used.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
        distance_weight: 0.1 in the paper's L_proxy.
        agreement_weight: of L_kl over L. In the public script it is 0.02 L for 0.3 L_proxy, 35 : 0.3 for 12³ tokens,
            for a term that was 0; :class:`~scdl_components.proxies.BidirectionalAssignment` then makes all embeddings
            alike.
        ignore_index: label value of voxels to leave out.
    """

    def __init__(
        self,
        bank: ProxyBank,
        voxels_per_token: int | Sequence[int] = 4,
        distance_weight: float = 0.1,
        agreement_weight: float = 0.1,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.bank = bank
        self.voxels_per_token = voxels_per_token
        self.distance_weight = distance_weight
        self.agreement_weight = agreement_weight
        self.ignore_index = ignore_index

    def forward(
        self, features: Tensor, label: Tensor | None = None, spatial_size: Sequence[int] | None = None
    ) -> Tensor:
        """Scalar loss.

        Args:
            features: [B, D, *S], one to three spatial axes, at the image's resolution or a lower one.
            label: [B, 1, *image] or [B, *image] class indices; None for unlabelled images.
            spatial_size: size of the image in voxels, where there is no label and the features are coarser.
        """
        tokens = tokenize(
            features, label, self.bank.num_classes, self.voxels_per_token, self.ignore_index, spatial_size
        )
        terms = cdba_terms(self.bank(tokens.features, tokens.mask), tokens.weights)
        return terms.separation + self.distance_weight * terms.distance + self.agreement_weight * terms.agreement
