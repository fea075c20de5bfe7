# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the terms of the training loss see and return, and the supervised one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn


class StudentOutputs(NamedTuple):
    """What the terms see of one iteration; labeled samples come first in the batch.

    Attributes:
        logits: [B, num_classes, *spatial] of each student.
        features: last decoder features [B, D, *feature_spatial] of each student; empty when no module is named.
        label: class indices of the labeled samples, [B_labeled, 1, *spatial].
        progress: fraction of training done, in [0, 1).
    """

    logits: Sequence[Tensor]
    features: Sequence[Tensor]
    label: Tensor
    progress: float


class LossTerm(NamedTuple):
    """A value as it is logged, and its weight in the total."""

    value: Tensor
    weight: float


class SupervisedTerm(nn.Module):
    """Losses of every student on the labeled samples.

    Args:
        losses: name -> loss(logits [B, C, *spatial], label [B, 1, *spatial]), e.g. GA-CE and GA-Dice; summed.
        weight: factor of each.
    """

    def __init__(self, losses: Mapping[str, Callable], weight: float = 1.0) -> None:
        super().__init__()
        self.losses = dict(losses)
        self.weight = weight

    def forward(self, outputs: StudentOutputs) -> dict[str, LossTerm]:
        # one slice for all losses: on the way back each would be filled up with zeros
        labeled = [logits[: outputs.label.shape[0]] for logits in outputs.logits]
        return {
            f"supervised/{name}": LossTerm(sum(loss(logits, outputs.label) for logits in labeled), self.weight)
            for name, loss in self.losses.items()
        }
