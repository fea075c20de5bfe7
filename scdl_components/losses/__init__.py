# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses, and the terms of the training objective that use them."""

from .cdba import CDBALoss, ClassMean, TokenMean
from .dual_student import CrossPseudoSupervisionTerm, DualStudentLoss, LossTerm, StudentOutputs, SupervisedTerm
from .ga_ce import GACELoss
from .ga_dice import GADiceLoss
from .ramps import constant, gaussian_ramp
from .sac import SACLoss
from .scdl import SCDLTerm

__all__ = [
    "CDBALoss",
    "ClassMean",
    "CrossPseudoSupervisionTerm",
    "DualStudentLoss",
    "GACELoss",
    "GADiceLoss",
    "LossTerm",
    "SACLoss",
    "SCDLTerm",
    "StudentOutputs",
    "SupervisedTerm",
    "TokenMean",
    "constant",
    "gaussian_ramp",
]
