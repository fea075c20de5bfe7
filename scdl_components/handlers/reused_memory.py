# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Iterations that use freed memory again."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from ignite.engine import Engine, Events

from ..memory import give_back, reused_memory
from .events import RunEvents


class ReusedMemory:
    """Run training iterations on a CPU in :func:`~scdl_components.memory.reused_memory`.

    They take half the time and 1.2 times the memory (docs/results.md). Attach it before what validates, so that whole
    volumes stay outside. When the run ends, what was kept is given back.

    Args:
        device: of the training; on any but a CPU nothing happens.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._iteration = ExitStack()

    def attach(self, engine: Engine) -> None:
        if self.device.type == "cpu":
            engine.add_event_handler(Events.ITERATION_STARTED, lambda: self._iteration.enter_context(reused_memory()))
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration.close)
            engine.add_event_handler(RunEvents.ENDED, self._end)

    def _end(self) -> None:
        self._iteration.close()
        give_back()
