# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Networks."""

from .dual_student import DualStudent, pytorch_init_
from .features import WithFeatures
from .priors import PriorNetwork
from .vnet import VNet

__all__ = ["DualStudent", "PriorNetwork", "VNet", "WithFeatures", "pytorch_init_"]
