# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The equations of the losses (docs/method.md).

Batch B, tokens L, classes C, embedding Z; a similarity [B, L, C], token labels w [B, L, C]. The mean of several ranks'
losses is the loss of the whole batch.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import all_reduce_sum, count_per_rank, largest_of_all, world_size
from ..tokens import full_precision

Number = TypeVar("Number", float, Tensor)
SMOOTH = 1e-10  # s of the Dice losses, keeps the ratio finite

# --- CDBA: values by token and class


def separation(similarity: Tensor, weights: Tensor) -> Tensor:
    """Compute exp(−(2 w − 1) a) of each token and class, [B, L, C]."""
    return torch.exp((1 - 2 * weights) * similarity)


def distance(similarity: Tensor) -> Tensor:
    """Compute 1 − a of each token and class, [B, L, C]."""
    return 1 - similarity


def symmetric_kl(log_q: Tensor, log_r: Tensor) -> Tensor:
    """Compute KL(q‖r) + KL(r‖q) of each token, [B, L]."""
    # as Σ (q − r)(log q − log r), whose summands are not negative
    return ((log_q.exp() - log_r.exp()) * (log_q - log_r)).sum(-1)


def consensus(log_q: Tensor, log_r: Tensor) -> Tensor:
    """Compute q ∘ r̄ normalised over classes, without gradient: shares of unlabeled tokens."""
    return (log_q + log_r).detach().softmax(-1)


def class_gaps(similarity: Tensor, weights: Tensor) -> Tensor:
    """Compute exp(−(E_c⁺ − E_c⁻)) of each class, [C].

    E_c⁺ = Σ w a / Σ w and E_c⁻ = Σ (1 − w) a / Σ (1 − w), sums over tokens; 0 where the sum is over none.
    """
    return torch.exp(class_means(similarity, 1 - weights) - class_means(similarity, weights))


# --- means over tokens and classes


def token_mean(values: Tensor) -> Tensor:
    """Average values [B, L] over all ranks' tokens; 0, with a graph, without any."""
    return values.sum() / count_per_rank(values.new_full((), values.numel()))


def class_means(values: Tensor, weights: Tensor) -> Tensor:
    """Average values by class over tokens, [C]; 0 where a class has no weight."""
    total, mass = all_reduce_sum(torch.stack([(weights * values).sum((0, 1)), weights.sum((0, 1))]))
    return over_mass(total, mass)


def over_mass(total: Tensor, mass: Tensor) -> Tensor:
    """Divide sums by their masses; 0, with a gradient of 0, where a mass is 0."""
    # by a tiny number instead, a gradient would be infinity times 0
    return total / mass.masked_fill(mass == 0, 1)


def present_classes(weights: Tensor) -> Tensor:
    """Tell which classes any rank's tokens hold, [C] bool."""
    return all_reduce_sum(weights.sum((0, 1))) > 0


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average values [C] where mask is True; 0, with a graph, where it nowhere is."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


# --- SAC


def class_tokens(tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Average each volume's tokens [B, L, D] by class, weighted by their shares.

    Returns:
        [B, C, D], zeros for absent classes, and [B, C] bool, True where the volume holds the class.
    """
    tokens = full_precision(tokens)
    weights = weights.to(tokens.dtype)
    mass = weights.sum(1)
    total = weights.transpose(1, 2) @ tokens
    return over_mass(total, mass[..., None]), mass > 0


def class_anchors(embeddings: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Average the direction of every class over all ranks' volumes that hold it.

    Args:
        embeddings: of the class tokens, [B, C, Z].
        present: [B, C] bool.

    Returns:
        anchors [C, Z], zeros for classes in no volume, and [C] bool, True for classes in any.
    """
    directions = F.normalize(embeddings, dim=-1) * present[..., None]
    count = all_reduce_sum(present.sum(0))
    return all_reduce_sum(directions.sum(0)) / count[:, None].clamp_min(1), count > 0


def anchor_loss(anchors: Tensor, present: Tensor, means: Tensor) -> Tensor:
    """Compute L_SAC, the mean over present classes of 1 − cos(anchor_c, μ_c).

    Args:
        anchors: [C, Z]; no gradient flows into them.
        present: [C] bool. Without any the loss is 0, with a graph.
        means: μ, [C, Z].
    """
    return masked_mean(1 - F.cosine_similarity(anchors.detach(), means, dim=-1), present)


# --- cross pseudo supervision


def gaussian_ramp(progress: Number) -> Number:
    """Compute exp(-5 (1 - t)²) of the fraction t of training done."""
    return math.e ** (-5 * (1 - progress) ** 2)


# --- gradient-aware losses: logits [B, C, *spatial], class indices target [B, 1, *spatial]


def ga_cross_entropy(
    logits: Tensor, target: Tensor, top_k: float, gamma: float, class_weights: Tensor | None = None
) -> Tensor:
    """Compute the gradient-aware cross entropy Σ_c Σ CE / (n_c^(1 − γ) K^γ).

    The sum is over the K voxels, ``top_k`` % of all, of largest CE; n_c of them are of class c. With class weights [C],
    CE is w_c CE throughout.
    """

    def by_class(target: Tensor, dtype: torch.dtype) -> Tensor:
        weights = ga_class_weights(target, logits.shape[1], gamma)
        return (weights if class_weights is None else weights * class_weights).to(dtype)[target]

    def voxel_weights(entropy: Tensor, target: Tensor) -> Tensor:
        if top_k == 100:
            return by_class(target, entropy.dtype)
        weighted = entropy if class_weights is None else entropy * class_weights.to(entropy.dtype)[target]
        kept = largest_of_all(weighted, top_k)
        return torch.zeros_like(entropy).index_copy_(0, kept, by_class(target[kept], entropy.dtype))

    return weighted_cross_entropy(logits, target, voxel_weights)


def weighted_cross_entropy(logits: Tensor, target: Tensor, weights_of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Sum cross entropy over voxels, with weights w(CE [N], target [N]) [N] as constants."""
    return _WeightedCrossEntropy.apply(full_precision(logits), target.long(), weights_of)


def ga_class_weights(target: Tensor, num_classes: int, gamma: float) -> Tensor:
    """Compute 1 / (n_c^(1 − γ) K^γ) of each class; 0 where it is absent.

    n_c of the K given voxels are of class c. Of several ranks, n_c and K are means over them: the mean of the ranks'
    weighted sums is then that of all voxels.

    Args:
        target: class indices, [K].

    Returns:
        [num_classes], float64 for exactness: the counts reach millions.
    """
    counts = all_reduce_sum(class_counts(target, num_classes)) / world_size()
    weights = 1 / (counts ** (1 - gamma) * counts.sum() ** gamma)
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


def ga_dice(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Compute the gradient-aware Dice loss, averaged over classes.

    It is 1 − (2Σpt + s) / (Σp² + Σt² + s), or Σ stopgrad(p / Σ(1−t)) p where a class is absent. With class weights [C],
    w_c times that.
    """
    overlap, squares, size = dice_sums(logits, target)
    outside = (size.sum() - size).clamp(min=1)
    # stopgrad(p) p has half of p²'s gradient and all of its value
    half = 0.5 * squares
    absent = (half + half.detach()) / outside
    terms = torch.where(size > 0, dice_loss(overlap, squares, size), absent)
    terms = terms if class_weights is None else terms * class_weights
    return terms.mean().to(torch.promote_types(logits.dtype, torch.float32))


def batch_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the Dice loss over the batch, averaged over classes, absent ones too.

    It is 1 − (2Σpt + s) / (Σp² + Σt² + s).
    """
    return dice_loss(*dice_sums(logits, target)).mean().to(torch.promote_types(logits.dtype, torch.float32))


def dice_loss(overlap: Tensor, squares: Tensor, size: Tensor) -> Tensor:
    """Compute 1 − Dice of each class [C] from :func:`dice_sums`."""
    return 1 - (2 * overlap + SMOOTH) / (squares + size + SMOOTH)


def dice_sums(logits: Tensor, target: Tensor) -> Tensor:
    """Sum pt, p² and t² of each class over all ranks, [3, C] float64."""
    target = target.long()
    overlap, squares = _ClassSums.apply(torch.softmax(full_precision(logits), dim=1), target)
    return all_reduce_sum(torch.stack([overlap, squares, class_counts(target, logits.shape[1])]))


def class_counts(target: Tensor, num_classes: int) -> Tensor:
    """Count the voxels of each class [num_classes], float64, in class indices of any shape."""
    if target.device.type == "cpu":
        return torch.bincount(target.flatten(), minlength=num_classes).double()
    # torch.bincount would make the host wait to learn how many bins there are
    return torch.histc(target.double(), num_classes, -0.5, num_classes - 0.5)


class _WeightedCrossEntropy(torch.autograd.Function):
    """Sum w CE over voxels, with weights w(CE [N], t [N]) [N] as constants.

    Of logits [B, C, *spatial] against t [B, 1, *spatial]. One pass over C channels on the way back, where autograd
    makes one for each step: 2 % of an iteration on a CPU.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, weights_of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        log_prob = torch.log_softmax(logits, dim=1)
        entropy = -log_prob.gather(1, target)
        weights = weights_of(entropy.flatten(), target.flatten()).reshape(entropy.shape)
        ctx.save_for_backward(log_prob, target, weights)
        return (entropy * weights).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        log_prob, target, weights = ctx.saved_tensors
        weights = weights * grad
        return log_prob.exp().mul_(weights).scatter_add_(1, target, -weights), None, None


class _ClassSums(torch.autograd.Function):
    """Sum pt and p² of each class [C], float64.

    Of p [B, C, *spatial] and class indices t [B, 1, *spatial]. By index, 4 % of an iteration faster on a CPU than
    autograd's. float64: a sum of a million voxels one after the other has steps of 1/16 in float32, and 1 − their ratio
    is no Dice any more.
    """

    @staticmethod
    def forward(ctx, prob: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
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
    def backward(ctx, grad_overlap: Tensor, grad_squares: Tensor) -> tuple[Tensor, None]:
        prob, target = ctx.saved_tensors
        grad_overlap, grad_squares = grad_overlap.to(prob.dtype), grad_squares.to(prob.dtype)
        grad = prob * (2 * grad_squares).reshape(1, -1, *[1] * (prob.ndim - 2))
        return grad.scatter_add_(1, target, grad_overlap[target]), None
