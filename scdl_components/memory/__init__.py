# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory: what an iteration of training needs, what is free, and what to do where that is not enough."""

from .available import free_memory
from .check import MemoryCheck
from .estimate import IterationMemory, iteration_memory
from .live import LiveBytes
from .reuse import give_back, reused_memory
from .shortage import MemoryShortageError, memory_shortages

__all__ = [
    "IterationMemory",
    "LiveBytes",
    "MemoryCheck",
    "MemoryShortageError",
    "free_memory",
    "give_back",
    "iteration_memory",
    "memory_shortages",
    "reused_memory",
]
