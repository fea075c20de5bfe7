# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Students of one architecture and different initialisation, trained together and averaged at inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class DualStudent(nn.Module):
    """Two (or more) students; called as one network, it returns the mean of their logits.

    Training reaches the students through ``students``; inference, TorchScript export and MONAI's evaluators see one
    plain network (design.md section 3: inference is the softmax of the mean logits).

    Args:
        student: any segmentation network [B, in, *spatial] -> [B, num_classes, *spatial]; it becomes the first student,
            copies of it the others.
        initializers: one in-place initialiser of convolution weights a student, applied in order, e.g.
            ``torch.nn.init.kaiming_normal_``. Their number is the number of students.

    Raises:
        ValueError: when there is no initializer.
    """

    def __init__(
        self,
        student: nn.Module,
        initializers: Sequence[Callable[[torch.Tensor], object]] = (
            nn.init.kaiming_normal_,
            nn.init.xavier_normal_,
        ),
    ) -> None:
        super().__init__()
        if len(initializers) == 0:
            raise ValueError("DualStudent needs one initializer a student, got none")
        self.students = nn.ModuleList([student] + [deepcopy(student) for _ in initializers[1:]])
        for network, initializer in zip(self.students, initializers):
            for module in network.modules():
                if isinstance(module, CONVOLUTIONS):
                    initializer(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean logits [B, num_classes, *spatial] of an image x [B, in_channels, *spatial]."""
        logits = torch.zeros(1, dtype=x.dtype, device=x.device)
        for student in self.students:
            logits = logits + student(x)
        return logits / len(self.students)
