# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Handlers."""

from ..atomic import check_writable
from .checkpoint import TrainingCheckpoint
from .events import RunEvents
from .finite import NonFiniteCheck
from .progress import TrainingProgressBar
from .resume import find_start
from .reused_memory import ReusedMemory
from .seed import IterationSeed
from .shared import shared_handler
from .signals import StopOnSignal
from .weights import WeightsLoader, WeightsSaver
from .writer import summary_writer

__all__ = [
    "IterationSeed",
    "NonFiniteCheck",
    "ReusedMemory",
    "RunEvents",
    "StopOnSignal",
    "TrainingCheckpoint",
    "TrainingProgressBar",
    "WeightsLoader",
    "WeightsSaver",
    "check_writable",
    "find_start",
    "shared_handler",
    "summary_writer",
]
