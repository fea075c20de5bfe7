# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Networks."""

from .dual_student import DualStudent, small_uniform_
from .fold import fold_batch_norm
from .vnet import VNet

__all__ = ["DualStudent", "VNet", "fold_batch_norm", "small_uniform_"]
