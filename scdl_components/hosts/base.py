# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Base of the hosts, semi-supervised methods that run the students of an iteration."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..losses.terms import LossTerm
from ..networks.features import StudentOutput

# image batch [B, channels, *spatial] -> logits and features of named modules
Student = Callable[[Tensor], StudentOutput]
# (logits [B, C, *spatial], label [B, 1, *spatial], of some class weights [C]) -> scalar
Loss = Callable[..., Tensor]


class Batch(NamedTuple):
    """One iteration's samples, labeled ones first, and the state of training.

    Attributes:
        images: [B, channels, *spatial].
        label: class indices of the labeled samples, [B_labeled, 1, *spatial].
        iteration: number of iterations before this one; a scalar on the device where a CUDA graph is recorded.
        num_iterations: of the whole training.
    """

    images: Tensor
    label: Tensor
    iteration: int | Tensor
    num_iterations: int

    @property
    def progress(self) -> float | Tensor:
        """Fraction of training done, in [0, 1)."""
        return self.iteration / self.num_iterations


class HostOutput(NamedTuple):
    """Losses and features of a host's forward passes.

    Attributes:
        terms: its losses by name.
        features: of each student, the features of all images by name of module, for SCDL.
        curves: further scalars to be logged, by name.
    """

    terms: dict[str, LossTerm]
    features: Sequence[Mapping[str, Tensor]]
    curves: Mapping[str, Tensor] = {}


class Host(nn.Module):
    """Base class of the semi-supervised methods: it runs the students and returns losses.

    What it learns or counts are parameters and buffers: they are saved and restored with the training, and a step that
    is not finite leaves buffers as they were.
    """

    # modules of a student whose outputs the host itself needs
    feature_modules: tuple[str, ...] = ()
    # whether every iteration is the same operations on tensors, so that a CUDA graph may repeat the first one's
    repeatable = False

    def forward(self, students: Sequence[Student], batch: Batch) -> HostOutput:
        """Run the students on a batch, and return the losses."""
        raise NotImplementedError

    def after_step(self, network: nn.Module, batch: Batch, finite: Tensor) -> None:
        """Act after the optimizer's step; the scalar ``finite`` is False where it was undone."""


def supervised_terms(
    losses: Mapping[str, Loss],
    logits: Sequence[Tensor],
    label: Tensor,
    weight: float = 1.0,
    class_weights: Sequence[Tensor] | None = None,
) -> dict[str, LossTerm]:
    """Compute losses on the labeled samples by name, each summed over the students.

    Args:
        losses: name -> loss.
        logits: of each student and all samples, [B, C, *spatial].
        label: of the labeled samples, [B_labeled, 1, *spatial].
        weight: of each loss.
        class_weights: of each student, [C], handed to the losses by this name; None: they are called without.
    """
    # one slice for all losses: each pads its gradient with zeros
    labeled = [values[: len(label)] for values in logits]
    further = [{}] * len(logits) if class_weights is None else [{"class_weights": each} for each in class_weights]
    return {
        f"supervised/{name}": LossTerm(sum(loss(x, label, **more) for x, more in zip(labeled, further)), weight)
        for name, loss in losses.items()
    }


def hard_labels(logits: Tensor) -> Tensor:
    """Find the class of the largest logit [B, C, *spatial], the first of equal ones.

    It is, [B, 1, *spatial], the largest of C - c over the classes c that reach the maximum, in bytes: argmax over a
    strided dimension takes a CPU nine times as long, a tenth of an iteration or more.
    """
    logits = logits.detach()
    num_classes = logits.shape[1]
    dtype = torch.uint8 if num_classes < 256 else torch.int32
    codes = torch.arange(num_classes, 0, -1, dtype=dtype, device=logits.device)
    reached = logits == logits.amax(1, keepdim=True)
    reached = reached.view(dtype) if dtype == torch.uint8 else reached.to(dtype)
    code = reached.mul_(codes.reshape(1, -1, *[1] * (logits.ndim - 2))).amax(1, keepdim=True)
    # NaN reaches nothing; the step of such an iteration is not made, but its labels must be classes
    return (num_classes - code).clamp_(max=num_classes - 1).long()
