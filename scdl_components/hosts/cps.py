# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cross pseudo supervision: students learn from each other's hard labels (CPS, CVPR 2021; docs/method.md)."""

from collections.abc import Mapping, Sequence

from ..errors import SettingError
from ..losses.functional import gaussian_ramp
from ..losses.terms import LossTerm
from .base import Batch, Host, HostOutput, Loss, Student, hard_labels, supervised_terms


class CPS(Host):
    """Two students that learn from labels and from each other's hard labels.

    The supervised losses are of the labeled samples, the other student's hard labels of all; these carry no gradient.
    With GA losses this is the host of the published SCDL code.

    Args:
        supervised_losses: name -> loss(logits [B, C, *spatial], label [B, 1, *spatial]), e.g. GA-CE and GA-Dice.
        cps_loss: loss of logits against hard labels.
        weight: of ``cps_loss`` at the end of :func:`~scdl_components.losses.gaussian_ramp`.

    Raises:
        SettingError: in training, when there is one student.
    """

    repeatable = True

    def __init__(self, supervised_losses: Mapping[str, Loss], cps_loss: Loss, weight: float = 0.1) -> None:
        super().__init__()
        self.supervised_losses = dict(supervised_losses)
        self.cps_loss = cps_loss
        self.weight = weight

    def forward(self, students: Sequence[Student], batch: Batch) -> HostOutput:
        if len(students) < 2:
            raise SettingError("cross pseudo supervision needs two students: give network_def two initializers")
        outputs = [student(batch.images) for student in students]
        logits = [output.logits for output in outputs]
        terms = supervised_terms(self.supervised_losses, logits, batch.label)
        labels = [hard_labels(values) for values in logits]
        others = labels[1:] + labels[:1]
        value = sum(self.cps_loss(values, label) for values, label in zip(logits, others))
        terms["cps"] = LossTerm(value, self.weight * gaussian_ramp(batch.progress))
        return HostOutput(terms, [output.features for output in outputs])
