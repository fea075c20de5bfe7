# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware cross entropy: the hardest voxels, each class weighed by how many of them it has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def class_weights(target: torch.Tensor, num_classes: int, gamma: float) -> torch.Tensor:
    """1 / (n_c^(1 - gamma) * K^gamma) of each class, n_c of the K given voxels; 0 where a class has none.

    Args:
        target: class indices, [K].

    Returns:
        [num_classes], float64 for exactness: the counts reach millions.
    """
    counts = torch.bincount(target, minlength=num_classes).double()
    weights = 1 / (counts ** (1 - gamma) * target.numel() ** gamma)
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


class GACELoss(nn.Module):
    """GA-CE: per class Σ CE / (n_c^(1 - γ) K^γ) over the k % hardest voxels, summed over classes.

    Source: GALoss (ECCV 2024); design.md section 3; numbers in ``reference/ga_losses.npz``.

    Args:
        top_k: percent of the voxels that are kept, those of largest cross entropy; 100 keeps all.
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
        num_classes = input.shape[1]
        target = target.squeeze(1).long()
        # in float32: half precision overflows in the sums over millions of voxels
        entropy = F.cross_entropy(input.float() if input.dtype != torch.float64 else input, target, reduction="none")
        entropy, target = entropy.flatten(), target.flatten()
        if self.top_k < 100:
            entropy, kept = torch.topk(entropy, int(entropy.numel() * self.top_k / 100), sorted=False)
            target = target[kept]
        weights = class_weights(target, num_classes, self.gamma).to(entropy.dtype)
        return (entropy * weights[target]).sum()
