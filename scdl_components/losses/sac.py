# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SAC: semantic anchor constraints on the class means (arXiv 2603.05202; docs/method.md)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..proxies import ProxyBank
from ..tokens import Tokens, full_precision, tokenize
from .functional import anchor_loss, class_anchors, class_tokens


class SACLoss(nn.Module):
    """Semantic anchor constraints: draw class means to the labeled tokens of their class.

    The bundles train with it. It works in any PyTorch code. Gradient reaches the class means alone, neither the encoder
    nor the features.

    >>> bank = ProxyBank(in_channels=16, num_classes=14)
    >>> features, label = torch.randn(2, 16, 24, 24, 24), torch.randint(14, (2, 1, 24, 24, 24))
    >>> SACLoss(bank)(features, label).backward()

    Args:
        bank: the class distributions, shared with :class:`~scdl_components.CDBALoss` where both are used.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
    """

    def __init__(self, bank: ProxyBank, voxels_per_token: int | Sequence[int] = 4) -> None:
        super().__init__()
        self.bank = bank
        self.voxels_per_token = voxels_per_token

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Compute the scalar loss.

        Args:
            features: [B, D, *S], one to three spatial axes, at the image's resolution or a lower one.
            label: [B, 1, *image] or [B, *image] class indices.
        """
        return self.value(tokenize(features, label, self.bank.num_classes, self.voxels_per_token))

    def value(self, tokens: Tokens) -> Tensor:
        """Compute the scalar loss of labeled tokens.

        Raises:
            ValueError: the tokens have no labels.
        """
        if tokens.weights is None:
            raise ValueError("SAC needs labeled tokens")
        with torch.autocast(tokens.features.device.type, enabled=False):
            pooled, present = class_tokens(tokens.features.detach(), tokens.weights)
            # without dropout: a target that moves with every draw would feed the means noise; published so, too
            embeddings = self.bank.encode_target(pooled.to(self.bank.proxies.dtype))
            anchors, anywhere = class_anchors(full_precision(embeddings), present)
            return anchor_loss(anchors, anywhere, full_precision(self.bank.mu))
