# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Reuse of freed memory in the iterations of a training on a CPU."""

import logging
from contextlib import ExitStack

import torch
from ignite.engine import Engine, Events

from ..memory import free_memory, freed_since_peak, give_back, reused_memory
from .events import RunEvents

logger = logging.getLogger(__name__)
# measured: a process keeps about 1.2 times the peak of an iteration; the rest is for validation
MARGIN = 1.3


class ReusedMemory:
    """Run iterations on a CPU in :func:`~scdl_components.memory.reused_memory`, if there is room.

    The first iteration runs without it, and its measured peak decides. Attach this before what validates, so that the
    memory of whole volumes is not kept. The end of the run returns what was kept.

    Args:
        device: of the training; on any but a CPU nothing happens.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.has_room: bool | None = None
        self._iteration = ExitStack()

    def attach(self, engine: Engine) -> None:
        if self.device.type == "cpu":
            engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._end)
            engine.add_event_handler(RunEvents.ENDED, self._give_back)

    def _begin(self) -> None:
        if self.has_room:
            self._iteration.enter_context(reused_memory())

    def _end(self) -> None:
        self._iteration.close()
        if self.has_room is None:
            peak, free = freed_since_peak(), free_memory()
            self.has_room = peak is not None and free is not None and MARGIN * peak < free
            if not self.has_room:
                logger.info("iterations do not reuse memory: %s bytes at the peak, %s are free", peak, free)

    def _give_back(self) -> None:
        self._iteration.close()
        if self.has_room:
            give_back()
