# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses, and the terms of the training objective that use them."""

from .dual_student import CrossPseudoSupervisionTerm, DualStudentLoss, LossTerm, StudentOutputs, SupervisedTerm
from .ga_ce import GACELoss
from .ga_dice import GADiceLoss
from .ramps import constant, gaussian_ramp

__all__ = [
    "CrossPseudoSupervisionTerm",
    "DualStudentLoss",
    "GACELoss",
    "GADiceLoss",
    "LossTerm",
    "StudentOutputs",
    "SupervisedTerm",
    "constant",
    "gaussian_ramp",
]
