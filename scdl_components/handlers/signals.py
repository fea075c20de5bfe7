# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and Ctrl-C: save, then end with their exit status."""

import logging
import os
import signal
import threading
from contextlib import suppress
from types import FrameType

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from ..distributed import highest, world_size
from .checkpoint import TrainingCheckpoint
from .events import RunEvents

logger = logging.getLogger(__name__)


class StopOnSignal:
    """End a training at SIGTERM and Ctrl-C: save the iteration, exit with 143 or 130.

    A validation is cut short, and made after the resume: attach this to the validator, too. A second Ctrl-C ends the
    process at once. A rank that gets a signal tells the others at the iteration's end, and all end after the same one;
    a validation of several ranks is not cut short. Signals are left as they are where training runs in another thread
    than the main one, or where one is ignored (``nohup``, ``&`` in a script).

    Args:
        checkpoint: that saves.
    """

    def __init__(self, checkpoint: TrainingCheckpoint) -> None:
        self.checkpoint = checkpoint
        self.received: signal.Signals | None = None
        self.previous: dict[signal.Signals, object] = {}

    def attach(self, engine: Engine) -> None:
        if isinstance(engine, Evaluator):
            # ranks have different numbers of cases, so they agree at the start of a validation
            moment = Events.ITERATION_STARTED if world_size() == 1 else Events.EPOCH_STARTED
            engine.add_event_handler(moment, self._stop_if_asked, validate_first=True)
        else:
            engine.add_event_handler(Events.STARTED, self._listen)
            engine.add_event_handler(RunEvents.ENDED, self._end)

    def _listen(self, engine: Engine) -> None:
        if not engine.has_event_handler(self._stop_if_asked):
            # added here to come after the validation and the checkpoint of the same iteration
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_asked)
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if previous not in (signal.SIG_IGN, None):
                self.previous[number] = previous
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            told = f"\n{self.received.name}: ending after this iteration; its checkpoint is saved\n"
            with suppress(OSError):  # Ctrl-C ends "| tee", too
                os.write(2, told.encode())  # not through a buffer that the signal may have interrupted
        elif number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice

    def _stop_if_asked(self, *, validate_first: bool = False) -> None:
        number = highest(self.received or 0)
        if number:
            self.checkpoint.save_once(validate_first=validate_first)
            logger.warning("%s: saved in %s, training ends", signal.Signals(number).name, self.checkpoint.save_dir)
            raise SystemExit(128 + number)

    def _end(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous.clear()
        self.received = None
