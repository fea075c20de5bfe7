# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Iterations that use freed memory again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from ignite.engine import Engine, Events

from ..memory.reuse import give_back, reused_memory
from .events import RunEvents


class ReusedMemory:
    """Iterations run in :func:`~scdl_components.memory.reused_memory`; when the run ends, what was kept is given back.

    Attach it before what validates, so that whole volumes stay outside.

    Args:
        has_room: asked when the run starts: whether freed memory may be kept.
    """

    def __init__(self, has_room: Callable[[], bool]) -> None:
        self.has_room = has_room
        self.wanted = False
        self._iteration = ExitStack()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration.close)
        engine.add_event_handler(RunEvents.ENDED, self._end)

    def _start(self, engine: Engine) -> None:
        self.wanted = self.has_room()

    def _begin(self, engine: Engine) -> None:
        if self.wanted:
            self._iteration.enter_context(reused_memory())

    def _end(self, engine: Engine) -> None:
        self._iteration.close()
        if self.wanted:
            give_back()
