# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware soft Dice, which pushes down absent classes (GALoss, ECCV 2024)."""

from torch import Tensor, nn

from .functional import ga_dice


class GADiceLoss(nn.Module):
    """GA-Dice: soft Dice with squared denominators, averaged over classes, background included.

    Sums run over the whole batch, all ranks' parts of it. Source: GALoss (ECCV 2024); docs/method.md; numbers in
    ``reference/ga_losses.npz``.

    >>> logits, target = torch.randn(2, 14, 24, 24, 24, requires_grad=True), torch.randint(14, (2, 1, 24, 24, 24))
    >>> GADiceLoss()(logits, target).backward()
    """

    def forward(self, input: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Compute the loss of logits [B, C, *spatial] against class indices [B, 1, *spatial]."""
        return ga_dice(input, target, class_weights)
