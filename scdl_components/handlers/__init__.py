# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Handlers."""

from .checkpoint import TrainingCheckpoint
from .overlay_board import OverlayBoard
from .progress import TrainingProgressBar
from .proxy_board import ProxyBoard
from .seed import IterationSeed
from .weights import WeightsLoader

__all__ = ["IterationSeed", "OverlayBoard", "TrainingCheckpoint",
    "TrainingProgressBar", "WeightsLoader"]
