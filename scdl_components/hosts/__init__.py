# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Semi-supervised hosts of SCDL; each file reads top to bottom as one iteration."""

from .base import Batch, Host, HostOutput
from .cps import CPS
from .dhc import DHC
from .magicnet import MagicNet
from .supervised import Supervised
from .training_loss import NetworkWithLoss, TrainingLoss

__all__ = ["Batch", "CPS", "DHC", "Host", "HostOutput", "MagicNet", "NetworkWithLoss", "Supervised", "TrainingLoss"]
