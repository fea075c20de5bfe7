# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Students of one architecture and different initialisation, trained together and averaged at inference."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from monai.utils import ensure_tuple
from torch import nn

from ..errors import InputError, SettingError, tell_user_errors
from .weights import UNTRAINED, check_fits

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def pytorch_init_(weight: torch.Tensor) -> torch.Tensor:
    """Fill a convolution's weight as PyTorch does: uniform, of variance 1 / (3 fan-in)."""
    return nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


class DualStudent(nn.Module):
    """Two (or more) students; as one network they return the mean of their logits.

    Training reaches the students through ``students``; inference, TorchScript export and MONAI's evaluators see one
    plain network (docs/method.md). The state dict holds every student, active or not, so that one file of weights fits
    each choice.

    >>> network = DualStudent(VNet(in_channels=1, out_channels=14, num_filters=2))
    >>> network(torch.rand(2, 1, 32, 32, 32)).shape
    torch.Size([2, 14, 32, 32, 32])

    Args:
        student: any segmentation network [B, in, *spatial] -> [B, num_classes, *spatial]; it becomes the first student,
            copies of it the others.
        initializers: one in-place initialiser of convolution weights a student, applied in order; their number is the
            number of students. Published are ``torch.nn.init.kaiming_normal_`` and ``xavier_normal_``, with which
            students learn later (docs/history.md).
        active: indices of the students whose logits are averaged; the others are not run. None: all.
        trained: always refuse untrained weights (``monai-scdl untrained``), as inference does.

    Raises:
        SettingError: when there is no initializer.
        InputError: when ``active`` is empty, names a student twice, or one that there is not.
    """

    def __init__(
        self,
        student: nn.Module,
        initializers: Sequence[Callable[[torch.Tensor], object]] = (pytorch_init_, pytorch_init_),
        active: Sequence[int] | None = None,
        trained: bool = False,
    ) -> None:
        super().__init__()
        if len(initializers) == 0:
            raise SettingError("DualStudent needs one initializer a student, got none")
        self.students = nn.ModuleList([student] + [deepcopy(student) for _ in initializers[1:]])
        for network, initializer in zip(self.students, initializers):
            for module in network.modules():
                if isinstance(module, CONVOLUTIONS):
                    initializer(module.weight)
        self.active = _checked(active, len(self.students))
        self.trained = trained

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, or raise one sentence on how they differ.

        Args:
            strict: with False, as MONAI Label loads, a file of ``monai-scdl untrained`` changes nothing, unless the
                network has to be ``trained``. Other weights must fit all the same.

        Raises:
            WeightsError: they are of another network, or none yet.
        """
        if strict or self.trained or UNTRAINED not in state_dict:
            with tell_user_errors():
                check_fits(state_dict, self.state_dict(), "the file")
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average the active students' logits of an image x [B, in_channels, *spatial]."""
        logits = torch.zeros(1, dtype=x.dtype, device=x.device)
        for index, student in enumerate(self.students):
            if index in self.active:
                logits = logits + student(x)
        return logits / len(self.active)


def _checked(active: Sequence[int] | None, num_students: int) -> list[int]:
    """Check the indices of the active students, all of them when None."""
    there_are = list(range(num_students))
    chosen = there_are if active is None else list(ensure_tuple(active))
    if not chosen or any(type(index) is not int or index not in there_are for index in chosen):
        raise InputError(
            f"students is {active!r}; expected indices out of {there_are}, the students of this network, e.g. [0], or "
            "null for all"
        )
    if len(set(chosen)) < len(chosen):
        raise InputError(f"students is {active!r}; name each student once")
    return chosen
