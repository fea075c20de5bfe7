# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Dice and cross entropy with class weights, as in DHC (MICCAI 2023; docs/method.md)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..distributed import all_reduce_sum, world_size
from ..tokens import full_precision
from .functional import class_counts, weighted_cross_entropy


class DiceCELoss(nn.Module):
    """Soft Dice and cross entropy, both with class weights.

    By default the loss of DHC; numbers in ``reference/dhc.npz``. With ``include_background=True, batch=False,
    smooth=1e-5`` and without class weights it is MONAI's ``DiceCELoss(to_onehot_y=True, softmax=True)``.

    >>> logits, target = torch.randn(2, 14, 24, 24, 24, requires_grad=True), torch.randint(14, (2, 1, 24, 24, 24))
    >>> DiceCELoss()(logits, target, class_weights=torch.rand(14)).backward()

    Args:
        include_background: whether Dice counts class 0.
        batch: Dice over the whole batch, all ranks' parts of it; False: of each sample, averaged.
        smooth: added to Dice's numerator and denominator.
        lambda_dice: factor of Dice; with 0 there is cross entropy only.
    """

    def __init__(
        self, include_background: bool = False, batch: bool = True, smooth: float = 1.0, lambda_dice: float = 1.0
    ) -> None:
        super().__init__()
        self.include_background = include_background
        self.batch = batch
        self.smooth = smooth
        self.lambda_dice = lambda_dice

    def forward(self, input: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Compute the loss of logits [B, C, *spatial] against class indices [B, 1, *spatial]."""
        loss = mean_cross_entropy(input, target, class_weights)
        if self.lambda_dice:
            terms = dice_by_class(input, target, self.smooth, self.batch)
            terms = terms if class_weights is None else terms * class_weights.to(terms.dtype)
            loss = loss + self.lambda_dice * terms[..., 0 if self.include_background else 1 :].mean()
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


def dice_by_class(logits: Tensor, target: Tensor, smooth: float, batch: bool) -> Tensor:
    """Compute the Dice loss of each class.

    Returns:
        1 − (2 Σpt + s) / (Σp + Σt + s): [1, C], sums over the batch of all ranks; or [B, C], of each sample.
    """
    prob = torch.softmax(full_precision(logits), dim=1)
    target = target.long()
    hit = prob.gather(1, target).double()
    # row by row, so that a GPU's threads do not all add to the one sum of background
    rows = target.flatten(1, -2).shape[1], hit.shape[-1]
    zeros = hit.new_zeros(len(hit), rows[0], prob.shape[1])
    target, hit = target.reshape(-1, *rows), hit.reshape(-1, *rows)
    overlap, size = (zeros.scatter_add(2, target, x).sum(1) for x in (hit, torch.ones_like(hit)))
    size = size + prob.flatten(2).sum(-1).double()
    if batch:
        overlap, size = all_reduce_sum(torch.stack([overlap.sum(0, keepdim=True), size.sum(0, keepdim=True)]))
    return (1 - (2 * overlap + smooth) / (size + smooth)).to(prob.dtype)
