# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses: those of SCDL, and those of its hosts."""

from .cdba import CDBALoss
from .dice_ce import DiceCELoss
from .functional import batch_dice, gaussian_ramp
from .ga_ce import GACELoss
from .ga_dice import GADiceLoss
from .sac import SACLoss
from .scdl import SCDLLoss
from .terms import LossTerm

__all__ = ["CDBALoss", "DiceCELoss", "GACELoss", "GADiceLoss", "LossTerm", "SACLoss", "SCDLLoss", "batch_dice"]
__all__ += ["gaussian_ramp"]
