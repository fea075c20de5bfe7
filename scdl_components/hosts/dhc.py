# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Dual-debiased co-training: two students that weigh classes differently (DHC, MICCAI 2023; docs/method.md)."""

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..distributed import all_reduce_sum
from ..errors import SettingError
from ..losses.functional import class_counts, gaussian_ramp
from ..losses.terms import LossTerm
from .base import Batch, Host, HostOutput, Loss, Student, hard_labels, supervised_terms

EPSILON = 1e-8
DIFFICULTY_MOMENTUM, DISTRIBUTION_MOMENTUM = 49 / 50, 0.99


class DHC(Host):
    """Two students with class weights of their own, which learn from each other's hard labels.

    The first student weighs classes by how hard they are for it, the second by how rare they are, so that neither
    follows the other's bias. Weights are renewed in every iteration, before its losses.

    Args:
        supervised_losses: name -> loss(logits [B, C, *spatial], label [B, 1, *spatial], class_weights [C]).
        cps_loss: likewise, of logits against hard labels, on all samples.
        num_classes: C, with background.
        label_counts: voxels of each class in the labeled cases, which the second student's weights start from; None
            where a checkpoint brings them.
        class_names: of the curves of the weights, by class index; None: the indices.
        weight: of ``cps_loss`` at the end of :func:`~scdl_components.losses.gaussian_ramp`.

    Raises:
        SettingError: when a loss takes no class weights.
        SettingError: in training, when there are not two students.
    """

    repeatable = True

    def __init__(
        self,
        supervised_losses: Mapping[str, Loss],
        cps_loss: Loss,
        num_classes: int,
        label_counts: Tensor | None = None,
        class_names: Sequence[str] | None = None,
        weight: float = 0.1,
    ) -> None:
        super().__init__()
        for loss in (*supervised_losses.values(), cps_loss):
            if "class_weights" not in inspect.signature(getattr(loss, "forward", loss)).parameters:
                raise SettingError(
                    f"DHC weighs the classes, and {type(loss).__name__} takes no class_weights: give supervised_losses "
                    "and cps_loss losses of scdl_components.losses, e.g. DiceCELoss or GACELoss"
                )
        self.supervised_losses = dict(supervised_losses)
        self.cps_loss = cps_loss
        self.difficulty = DifficultyWeights(num_classes)
        self.distribution = DistributionWeights(num_classes, label_counts)
        self.class_names = list(class_names or map(str, range(num_classes)))
        self.weight = weight

    def forward(self, students: Sequence[Student], batch: Batch) -> HostOutput:
        if len(students) != 2:
            raise SettingError(f"DHC needs two students, not {len(students)}: give network_def two initializers")
        outputs = [student(batch.images) for student in students]
        logits = [output.logits for output in outputs]
        labels = [hard_labels(values) for values in logits]
        num_labeled = len(batch.label)
        weights = [self.difficulty(labels[0][:num_labeled], batch.label), self.distribution(labels[1][num_labeled:])]
        terms = supervised_terms(self.supervised_losses, logits, batch.label, class_weights=weights)
        value = sum(self.cps_loss(*args, class_weights=w) for *args, w in zip(logits, labels[::-1], weights))
        terms["cps"] = LossTerm(value, self.weight * gaussian_ramp(batch.progress))
        curves = {
            f"class_weight/student_{student}/{name}": value
            for student, values in enumerate(weights)
            for name, value in zip(self.class_names, values.unbind())
        }
        return HostOutput(terms, [output.features for output in outputs], curves)


class DifficultyWeights(nn.Module):
    """Weigh classes by how hard they are: low Dice, and Dice that falls.

    With the Dice d of hard labels and Δ = d − d_last, learn = EMA(max(Δ, 0) log(d / d_last)) and unlearn =
    EMA(min(Δ, 0) log(d / d_last)). The weights are ((unlearn + ε) / (learn + ε))^(1/5) · EMA(1 − d), :func:`scaled`.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        zeros = torch.zeros(num_classes, dtype=torch.float64)
        self.register_buffer("last_dice", zeros + EPSILON)
        self.register_buffer("learned", zeros.clone())
        self.register_buffer("unlearned", zeros.clone())
        self.register_buffer("missing", zeros + 1)  # EMA(1 − d)

    @torch.no_grad()
    def forward(self, hard_label: Tensor, label: Tensor) -> Tensor:
        """Compute the weights [C] from hard labels and labels of equal shape."""
        dice = hard_dice(hard_label, label, len(self.last_dice)).to(self.last_dice.dtype)
        change, growth = dice - self.last_dice, (dice / self.last_dice).log()
        self.last_dice.copy_(dice)
        self.learned.lerp_(change.clamp_min(0) * growth, 1 - DIFFICULTY_MOMENTUM)
        self.unlearned.lerp_(change.clamp_max(0) * growth, 1 - DIFFICULTY_MOMENTUM)
        self.missing.lerp_(1 - dice, 1 - DIFFICULTY_MOMENTUM)
        return scaled(((self.unlearned + EPSILON) / (self.learned + EPSILON)) ** 0.2 * self.missing)


class DistributionWeights(nn.Module):
    """Weigh classes by how rare they are (:func:`rarity`).

    The weights start from the labeled cases' voxel counts n, all alike where there are none, and follow those of hard
    labels by an EMA.

    Args:
        num_classes: C.
        label_counts: [C] or None.
    """

    def __init__(self, num_classes: int, label_counts: Tensor | None = None) -> None:
        super().__init__()
        ones = torch.ones(num_classes, dtype=torch.float64)
        self.register_buffer("weights", scaled(ones) if label_counts is None else rarity(label_counts.to(ones)))

    @torch.no_grad()
    def forward(self, hard_label: Tensor) -> Tensor:
        """Compute the weights [C] from all ranks' hard labels; without any, they stay."""
        counts = all_reduce_sum(class_counts(hard_label, len(self.weights)))
        new = rarity(counts.to(self.weights.dtype))
        self.weights.lerp_(torch.where(counts.sum() > 0, new, self.weights), 1 - DISTRIBUTION_MOMENTUM)
        return self.weights.clone()


def hard_dice(hard_label: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Compute the Dice of each class [C] of two label maps, over all ranks.

    It is (2 |A ∩ B| + ε) / (|A| + |B| + ε).
    """
    label = label.long()
    # voxels that differ count in a class of their own
    shared = class_counts(torch.where(hard_label == label, label, num_classes), num_classes + 1)[:-1]
    sizes = class_counts(hard_label, num_classes) + class_counts(label, num_classes)
    shared, sizes = all_reduce_sum(torch.stack([shared, sizes]))
    return (2 * shared + EPSILON) / (sizes + EPSILON)


def rarity(counts: Tensor) -> Tensor:
    """Compute log((max n + ε) / (n_c + ε)) of counts n [C], :func:`scaled`."""
    return scaled(((counts.max() + EPSILON) / (counts + EPSILON)).log())


def scaled(values: Tensor) -> Tensor:
    """Divide values [C] >= 0 by their maximum, and multiply by C; zeros stay."""
    return values * (len(values) / values.max().clamp_min(torch.finfo(values.dtype).tiny))
