# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware cross entropy: the hardest voxels, each class weighed by how many of them it has."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..distributed import largest_of_all, rank_sum, world_size


def class_counts(target: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Voxels of each class [num_classes], float64, of class indices of any shape.

    On a GPU by a histogram: torch.bincount would make the host wait to learn how many bins there are.
    """
    if target.device.type == "cpu":
        return torch.bincount(target.flatten(), minlength=num_classes).double()
    return torch.histc(target.double(), num_classes, -0.5, num_classes - 0.5)


def class_weights(target: torch.Tensor, num_classes: int, gamma: float) -> torch.Tensor:
    """1 / (n_c^(1 - gamma) * K^gamma) of each class, n_c of the K given voxels; 0 where a class has none.

    Of several ranks, n_c and K are means over them: the mean of the ranks' weighted sums is then that of all voxels.

    Args:
        target: class indices, [K].

    Returns:
        [num_classes], float64 for exactness: the counts reach millions.
    """
    counts = rank_sum(class_counts(target, num_classes)) / world_size()
    weights = 1 / (counts ** (1 - gamma) * counts.sum() ** gamma)
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


class GACELoss(nn.Module):
    """GA-CE: per class Σ CE / (n_c^(1 - γ) K^γ) over the k % hardest voxels, summed over classes.

    Source: GALoss (ECCV 2024); docs/method.md; numbers in ``reference/ga_losses.npz``.

    Args:
        top_k: percent of the voxels that are kept, those of largest cross entropy (of all ranks); 100 keeps all.
        gamma: 0 weighs every class alike, 1 every voxel alike.

    Raises:
        ValueError: when ``top_k`` is not in (0, 100].
    """

    def __init__(self, top_k: float = 10.0, gamma: float = 0.5) -> None:
        super().__init__()
        if not 0 < top_k <= 100:
            raise ValueError(f"top_k is a percentage in (0, 100], got {top_k}")
        self.top_k = top_k
        self.gamma = gamma

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits ``input`` [B, C, *spatial] against class indices ``target`` [B, 1, *spatial]."""
        logits = input.float() if input.dtype != torch.float64 else input
        return _WeightedCrossEntropy.apply(logits, target.long(), self.voxel_weights)

    def voxel_weights(self, entropy: torch.Tensor, target: torch.Tensor, num_classes: int) -> torch.Tensor:
        """Weight of each voxel's cross entropy: that of its class where it is kept, else 0.

        Args:
            entropy: cross entropies, [N].
            target: class indices, [N].
            num_classes: C.

        Returns:
            [N]
        """
        if self.top_k == 100:
            return class_weights(target, num_classes, self.gamma).to(entropy.dtype)[target]
        kept = largest_of_all(entropy, self.top_k)
        target = target[kept]
        weights = class_weights(target, num_classes, self.gamma).to(entropy.dtype)[target]
        return torch.zeros_like(entropy).index_copy_(0, kept, weights)


class _WeightedCrossEntropy(torch.autograd.Function):
    """Σ w CE of logits [B, C, *spatial] against t [B, 1, *spatial], with weights w(CE [N], t [N], C) [N] as constants.

    Autograd would go through every step over C channels again on the way back; here it is one pass.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor, target: torch.Tensor, weights_of: Callable) -> torch.Tensor:
        log_prob = torch.log_softmax(logits, dim=1)
        entropy = -log_prob.gather(1, target)
        weights = weights_of(entropy.flatten(), target.flatten(), logits.shape[1]).reshape(entropy.shape)
        ctx.save_for_backward(log_prob, target, weights)
        return (entropy * weights).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        log_prob, target, weights = ctx.saved_tensors
        weights = weights * grad
        return log_prob.exp().mul_(weights).scatter_add_(1, target, -weights), None, None
