# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware soft Dice: a class that is absent from the batch is pushed down where it is predicted."""

from __future__ import annotations

import torch
from torch import nn

from ..distributed import rank_sum
from .ga_ce import class_counts


class GADiceLoss(nn.Module):
    """GA-Dice: soft Dice with squared denominators, averaged over classes, background included.

    Present class: 1 − (2Σpt + s) / (Σp² + Σt² + s). Absent class: Σ stopgrad(p / Σ(1−t)) p. Sums run over the whole
    batch, all ranks' parts of it. Source: GALoss (ECCV 2024); docs/method.md; numbers in ``reference/ga_losses.npz``.

    Args:
        smooth: s, keeps the ratio finite.
    """

    def __init__(self, smooth: float = 1e-10) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits ``input`` [B, C, *spatial] against class indices ``target`` [B, 1, *spatial]."""
        prob = torch.softmax(input.float() if input.dtype != torch.float64 else input, dim=1)
        target = target.long()
        overlap, squares = _ClassSums.apply(prob, target)
        overlap, squares, size = rank_sum(torch.stack([overlap, squares, class_counts(target, input.shape[1])]))
        dice = 1 - (2 * overlap + self.smooth) / (squares + size + self.smooth)
        outside = (size.sum() - size).clamp(min=1)
        # stopgrad(p) p has half of p²'s gradient and all of its value
        half = 0.5 * squares
        absent = (half + half.detach()) / outside
        return torch.where(size > 0, dice, absent).mean().to(prob.dtype)


class _ClassSums(torch.autograd.Function):
    """Σ pt and Σ p² of each class [C], float64, from p [B, C, *spatial] and class indices t [B, 1, *spatial].

    By index: a one-hot target and autograd's gradients of each step would cost the memory of p several times. float64:
    a sum of a million voxels one after the other has steps of 1/16 in float32, and 1 − their ratio is no Dice any more.
    """

    @staticmethod
    def forward(ctx, prob: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(prob, target)
        hit = prob.gather(1, target).double()
        # row by row, so that a GPU's threads do not all add to the one sum of background
        width = hit.shape[-1]
        sums = hit.new_zeros(hit.numel() // width, prob.shape[1])
        overlap = sums.scatter_add_(1, target.reshape(-1, width), hit.reshape(-1, width)).sum(0)
        # rows: exact enough in prob's own precision, and fast
        rows = torch.linalg.vector_norm(prob, dim=-1).double().square()
        return overlap, rows.transpose(0, 1).flatten(1).sum(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_overlap: torch.Tensor, grad_squares: torch.Tensor) -> tuple[torch.Tensor, None]:
        prob, target = ctx.saved_tensors
        grad_overlap, grad_squares = grad_overlap.to(prob.dtype), grad_squares.to(prob.dtype)
        grad = prob * (2 * grad_squares).reshape(1, -1, *[1] * (prob.ndim - 2))
        return grad.scatter_add_(1, target, grad_overlap[target]), None
