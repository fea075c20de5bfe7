# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cross pseudo supervision: students learn from each other's hard labels (CPS, CVPR 2021; docs/method.md)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .functional import gaussian_ramp
from .terms import LossTerm, StudentOutputs


class CrossPseudoSupervisionTerm(nn.Module):
    """CPS: every student learns from the hard pseudo-labels of the next one, on all samples.

    Pseudo-labels carry no gradient.

    Args:
        loss: loss(logits [B, C, *spatial], label [B, 1, *spatial]).
        weight: final factor.
        ramp: fraction of training done -> factor of the weight.
    """

    def __init__(self, loss: Callable, weight: float = 0.1, ramp: Callable[[float], float] = gaussian_ramp) -> None:
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


def hard_labels(logits: Tensor) -> Tensor:
    """Class of the largest logit [B, 1, *spatial], the first of equal ones; logits [B, C, *spatial].

    As the largest of C - c over the classes c that reach the maximum, in bytes: argmax over a strided dimension takes a
    CPU nine times as long, a tenth of an iteration or more.
    """
    num_classes = logits.shape[1]
    dtype = torch.uint8 if num_classes < 256 else torch.int32
    codes = torch.arange(num_classes, 0, -1, dtype=dtype, device=logits.device)
    reached = logits == logits.amax(1, keepdim=True)
    reached = reached.view(dtype) if dtype == torch.uint8 else reached.to(dtype)
    code = reached.mul_(codes.reshape(1, -1, *[1] * (logits.ndim - 2))).amax(1, keepdim=True)
    # NaN reaches nothing; the step of such an iteration is not made, but its labels must be classes
    return (num_classes - code).clamp_(max=num_classes - 1).long()
