# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The training loss of dual students: a list of terms, each seeing all students' outputs on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from torch import Tensor, nn

from ..networks.dual_student import DualStudent
from ..networks.features import WithFeatures
from .terms import LossTerm, StudentOutputs


class DualStudentLoss(nn.Module):
    """Sum of weighted terms. Terms with parameters of their own (proxies) are trained through ``parameters()``.

    Args:
        terms: modules called with :py:class:`StudentOutputs`, returning name -> :py:class:`LossTerm`.
    """

    def __init__(self, terms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, outputs: StudentOutputs) -> tuple[Tensor, dict[str, LossTerm]]:
        """The scalar to minimise, and the terms by name."""
        terms: dict[str, LossTerm] = {}
        for term in self.terms:
            terms.update(term(outputs))
        return reduce(add, (weight * value for value, weight in terms.values())), terms


class NetworkWithLoss(nn.Module):
    """Students and loss as one module, from images to the loss: what torch's data parallelism can be put around.

    Args:
        network: the students.
        loss_function: called with :py:class:`StudentOutputs`.
        feature_module: name of the module of a student whose output is its features; None for none.
        after_students: called between students and loss.
        compiled: what is made of each student, e.g. ``torch.compile``; None for nothing.
    """

    def __init__(
        self,
        network: DualStudent,
        loss_function: nn.Module,
        feature_module: str | None,
        after_students: Callable[[], Any] = lambda: None,
        compiled: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss_function = loss_function
        self.after_students = after_students
        students = (WithFeatures(student, feature_module) for student in network.students)
        # no submodules: they are the network's
        self.students = tuple(students if compiled is None else map(compiled, students))

    def forward(self, images: Tensor, label: Tensor, progress: float) -> tuple[Tensor, dict[str, LossTerm]]:
        """The scalar to minimise, and the terms by name.

        Args:
            images: labeled ones first, [B, channels, *spatial].
            label: class indices of the labeled ones, [B_labeled, 1, *spatial].
            progress: fraction of training done.
        """
        outputs = [student(images) for student in self.students]
        self.after_students()
        logits, features = zip(*outputs)
        return self.loss_function(StudentOutputs(logits, sum(features, []), label, progress))
