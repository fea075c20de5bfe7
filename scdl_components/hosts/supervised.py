# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised training, which any semi-supervised host has to beat."""

from collections.abc import Mapping, Sequence

from .base import Batch, Host, HostOutput, Loss, Student, supervised_terms


class Supervised(Host):
    """Students that learn from the labeled samples alone.

    Unlabeled samples, if there are any, are for SCDL.

    Args:
        supervised_losses: name -> loss(logits [B, C, *spatial], label [B, 1, *spatial]).
    """

    repeatable = True

    def __init__(self, supervised_losses: Mapping[str, Loss]) -> None:
        super().__init__()
        self.supervised_losses = dict(supervised_losses)

    def forward(self, students: Sequence[Student], batch: Batch) -> HostOutput:
        outputs = [student(batch.images) for student in students]
        terms = supervised_terms(self.supervised_losses, [output.logits for output in outputs], batch.label)
        return HostOutput(terms, [output.features for output in outputs])
