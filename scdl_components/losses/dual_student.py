# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The training objective of dual students: a list of terms, each seeing all students' outputs on one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from .ramps import constant


class StudentOutputs(NamedTuple):
    """What the terms see of one iteration; labeled samples come first in the batch.

    Attributes:
        logits: [B, num_classes, *spatial] of each student.
        features: last decoder features [B, D, *feature_spatial] of each student; empty when no module is named.
        label: class indices of the labeled samples, [B_labeled, 1, *spatial].
        progress: fraction of training done, in [0, 1).
    """

    logits: Sequence[torch.Tensor]
    features: Sequence[torch.Tensor]
    label: torch.Tensor
    progress: float


class LossTerm(NamedTuple):
    """A value as it is logged, and its weight in the total."""

    value: torch.Tensor
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


def hard_labels(logits: torch.Tensor) -> torch.Tensor:
    """Class of the largest logit [B, 1, *spatial], the first of equal ones; logits [B, C, *spatial].

    As the largest of C - c over the classes c that reach the maximum, in bytes: argmax over a strided dimension is slow
    on a CPU.
    """
    num_classes = logits.shape[1]
    dtype = torch.uint8 if num_classes < 256 else torch.int32
    codes = torch.arange(num_classes, 0, -1, dtype=dtype, device=logits.device)
    reached = logits == logits.amax(1, keepdim=True)
    reached = reached.view(dtype) if dtype == torch.uint8 else reached.to(dtype)
    code = reached.mul_(codes.reshape(1, -1, *[1] * (logits.ndim - 2))).amax(1, keepdim=True)
    # NaN reaches nothing; the step of such an iteration is not made, but its labels must be classes
    return (num_classes - code).clamp_(max=num_classes - 1).long()


class CrossPseudoSupervisionTerm(nn.Module):
    """CPS: every student learns from the hard pseudo-labels of the next one, on all samples.

    Source: docs/method.md (CPS, CVPR 2021). Pseudo-labels carry no gradient.

    Args:
        loss: loss(logits [B, C, *spatial], label [B, 1, *spatial]).
        weight: final factor.
        ramp: fraction of training done -> factor of the weight.
    """

    def __init__(self, loss: Callable, weight: float = 0.1, ramp: Callable[[float], float] = constant) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.ramp = ramp

    def forward(self, outputs: StudentOutputs) -> dict[str, LossTerm]:
        if len(outputs.logits) < 2:
            raise ValueError("cross pseudo supervision needs two students: give network_def two initializers")
        pseudo_labels = [hard_labels(logits.detach()) for logits in outputs.logits]
        teachers = pseudo_labels[1:] + pseudo_labels[:1]
        value = sum(self.loss(logits, teacher) for logits, teacher in zip(outputs.logits, teachers))
        return {"cps": LossTerm(value, self.weight * self.ramp(outputs.progress))}


class DualStudentLoss(nn.Module):
    """Sum of weighted terms. Terms with parameters of their own (proxies) are trained through ``parameters()``.

    Args:
        terms: modules called with :py:class:`StudentOutputs`, returning name -> :py:class:`LossTerm`.
    """

    def __init__(self, terms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, outputs: StudentOutputs) -> tuple[torch.Tensor, dict[str, LossTerm]]:
        """The scalar to minimise, and the terms by name."""
        terms: dict[str, LossTerm] = {}
        for term in self.terms:
            terms.update(term(outputs))
        return sum(weight * value for value, weight in terms.values()), terms
