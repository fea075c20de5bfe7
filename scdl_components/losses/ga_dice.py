# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware soft Dice: a class that is absent from the batch is pushed down where it is predicted."""

from __future__ import annotations

import torch
from torch import nn


class GADiceLoss(nn.Module):
    """GA-Dice: soft Dice with squared denominators, averaged over classes, background included.

    Present class: 1 − (2Σpt + s) / (Σp² + Σt² + s). Absent class: Σ stopgrad(p / Σ(1−t)) p. Sums run over the whole
    batch. Source: GALoss (ECCV 2024); design.md section 3; numbers in ``reference/ga_losses.npz``.

    Args:
        smooth: s, keeps the ratio finite.
    """

    def __init__(self, smooth: float = 1e-10) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits ``input`` [B, C, *spatial] against class indices ``target`` [B, 1, *spatial]."""
        num_classes = input.shape[1]
        prob = torch.softmax(input.float() if input.dtype != torch.float64 else input, dim=1)
        target = target.long()
        # Σpt and Σt² of each class by index: a one-hot target would cost the memory of the logits again
        flat = target.flatten()
        size = torch.bincount(flat, minlength=num_classes).to(prob.dtype)
        hit = prob.gather(1, target).flatten()
        overlap = torch.zeros(num_classes, dtype=prob.dtype, device=prob.device).index_add(0, flat, hit)
        per_class = tuple(d for d in range(prob.ndim) if d != 1)
        squares = prob.square().sum(per_class)
        dice = 1 - (2 * overlap + self.smooth) / (squares + size + self.smooth)
        outside = (flat.numel() - size).clamp(min=1)
        # stopgrad(p) p has half of p²'s gradient and all of its value
        half = 0.5 * squares
        absent = (half + half.detach()) / outside
        return torch.where(size > 0, dice, absent).mean()
