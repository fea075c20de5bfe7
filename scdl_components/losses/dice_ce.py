# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Dice and cross entropy with class weights, as in DHC (MICCAI 2023; docs/method.md)."""

import torch
from torch import Tensor, nn

from ..distributed import all_reduce_sum, world_size
from ..tokens import full_precision
from .functional import class_counts, weighted_cross_entropy


class DiceCELoss(nn.Module):
    """Soft Dice and cross entropy, both with class weights.

    Numbers in ``reference/dhc.npz``. MONAI's ``DiceCELoss`` has one weight a class for its whole life, and sums over one
    rank.

    >>> logits, target = torch.randn(2, 14, 24, 24, 24, requires_grad=True), torch.randint(14, (2, 1, 24, 24, 24))
    >>> DiceCELoss()(logits, target, class_weights=torch.rand(14)).backward()

    Args:
        lambda_dice: factor of Dice; with 0 there is cross entropy only.
    """

    def __init__(self, lambda_dice: float = 1.0) -> None:
        super().__init__()
        self.lambda_dice = lambda_dice

    def forward(self, input: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Compute the loss of logits [B, C, *spatial] against class indices [B, 1, *spatial]."""
        loss = mean_cross_entropy(input, target, class_weights)
        if self.lambda_dice:
            terms = dice_by_class(input, target)
            terms = terms if class_weights is None else terms * class_weights.to(terms.dtype)
            loss = loss + self.lambda_dice * terms[1:].mean()
        return loss


def mean_cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Average cross entropy over voxels by class weights; 0, with a graph, without any weight."""
    if class_weights is None:
        class_weights = logits.new_ones(logits.shape[1])

    def voxel_weights(entropy: Tensor, target: Tensor) -> Tensor:
        weights = class_weights.to(entropy.dtype)
        # by class: a sum of a million weights one after the other would be coarse
        total = all_reduce_sum((class_counts(target, len(weights)) * weights).sum()) / world_size()
        return (weights / total.clamp_min(torch.finfo(entropy.dtype).tiny).to(weights.dtype))[target]

    return weighted_cross_entropy(logits, target, voxel_weights)


def dice_by_class(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the Dice loss of each class over the batch of all ranks.

    Returns:
        1 − (2 Σpt + 1) / (Σp + Σt + 1), [C].
    """
    prob = torch.softmax(full_precision(logits), dim=1)
    target = target.long()
    hit = prob.gather(1, target).double()
    # row by row, so that a GPU's threads do not all add to the one sum of background
    rows = target.flatten(1, -2).shape[1], hit.shape[-1]
    zeros = hit.new_zeros(len(hit), rows[0], prob.shape[1])
    target, hit = target.reshape(-1, *rows), hit.reshape(-1, *rows)
    overlap, size = (zeros.scatter_add(2, target, x).sum((0, 1)) for x in (hit, torch.ones_like(hit)))
    size = size + prob.flatten(2).sum(-1).double().sum(0)
    overlap, size = all_reduce_sum(torch.stack([overlap, size]))
    return (1 - (2 * overlap + 1) / (size + 1)).to(prob.dtype)
