# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses, and the terms of the training loss that use them."""

from .cdba import CDBALoss
from .cps import CrossPseudoSupervisionTerm
from .dual_student import DualStudentLoss, NetworkWithLoss
from .functional import gaussian_ramp
from .ga_ce import GACELoss
from .ga_dice import GADiceLoss
from .sac import SACLoss
from .scdl import SCDLTerm
from .terms import LossTerm, StudentOutputs, SupervisedTerm

__all__ = [
    "CDBALoss",
    "CrossPseudoSupervisionTerm",
    "DualStudentLoss",
    "GACELoss",
    "GADiceLoss",
    "LossTerm",
    "NetworkWithLoss",
    "SACLoss",
    "SCDLTerm",
    "StudentOutputs",
    "SupervisedTerm",
    "gaussian_ramp",
]
