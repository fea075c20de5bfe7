# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SAC: class means drawn to where the labelled tokens of their class lie (arXiv 2603.05202; docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import rank_sum
from ..proxies.assignments import full_precision
from ..proxies.bank import ProxyBank
from ..proxies.tokens import tokenize


def class_tokens(tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """One token per volume and class: the mean of the volume's tokens, weighted by their share of the class.

    Args:
        tokens: x, [B, L, D].
        weights: w, [B, L, C].

    Returns:
        [B, C, D], zeros for absent classes, and [B, C] bool, True where the volume holds the class.
    """
    tokens = full_precision(tokens)
    weights = weights.to(tokens.dtype)
    mass = weights.sum(1)
    total = weights.transpose(1, 2) @ tokens
    return total / mass[..., None].clamp_min(torch.finfo(mass.dtype).tiny), mass > 0


def class_anchors(embeddings: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Mean direction of every class over the volumes that hold it, those of all ranks.

    Args:
        embeddings: of the class tokens, [B, C, Z].
        present: [B, C] bool.

    Returns:
        anchors [C, Z], zeros for classes in no volume, and [C] bool, True for classes in any.
    """
    directions = F.normalize(embeddings, dim=-1) * present[..., None]
    count = rank_sum(present.sum(0))
    return rank_sum(directions.sum(0)) / count[:, None].clamp_min(1), count > 0


def anchor_loss(anchors: Tensor, present: Tensor, means: Tensor) -> Tensor:
    """L_sac = mean over present classes of 1 − cos(anchor_c, μ_c); 0, with a graph, where none is present.

    Args:
        anchors: [C, Z]; no gradient flows into them.
        present: [C] bool.
        means: μ, [C, Z].
    """
    distances = 1 - F.cosine_similarity(anchors.detach(), means, dim=-1)
    return (distances * present).sum() / present.sum().clamp_min(1)


def sac_loss(bank: ProxyBank, tokens: Tensor, weights: Tensor) -> Tensor:
    """SAC of labelled tokens; gradient reaches the class means only, neither the encoder nor the tokens.

    Anchors are encoded without dropout: they are targets, and a target that moves with every draw would feed the means
    noise. It is also how the published numbers come about.

    Args:
        bank: encoder and class means.
        tokens: x, [B, L, D].
        weights: w, [B, L, C]; rows of ignored tokens are zero.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        pooled, present = class_tokens(tokens.detach(), weights)
        embeddings = bank.encode_target(pooled.to(bank.proxies.dtype))
        anchors, anywhere = class_anchors(full_precision(embeddings), present)
        return anchor_loss(anchors, anywhere, full_precision(bank.mu))


class SACLoss(nn.Module):
    """SAC of a labelled feature map, usable alone in any PyTorch code.

    Args:
        bank: the class distributions, shared with :class:`~scdl_components.losses.cdba.CDBALoss` where both are used.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
        ignore_index: label value of voxels to leave out.
    """

    def __init__(
        self, bank: ProxyBank, voxels_per_token: int | Sequence[int] = 4, ignore_index: int | None = None
    ) -> None:
        super().__init__()
        self.bank = bank
        self.voxels_per_token = voxels_per_token
        self.ignore_index = ignore_index

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Scalar loss.

        Args:
            features: [B, D, *S], one to three spatial axes, at the image's resolution or a lower one.
            label: [B, 1, *image] or [B, *image] class indices.
        """
        tokens = tokenize(features, label, self.bank.num_classes, self.voxels_per_token, self.ignore_index)
        return sac_loss(self.bank, tokens.features, tokens.weights)
