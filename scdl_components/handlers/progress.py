# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Progress on the terminal."""

import sys
from contextlib import suppress
from typing import TextIO

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from ..distributed import rank
from .events import RunEvents


class _Terminal:
    """A stream whose reader may be gone: Ctrl-C ends the other side of ``| tee``, too, and training still has to save."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    # not around tqdm's calls: an error in them leaves its lock taken
    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()


class TrainingProgressBar:
    """Show one bar over all iterations, with the loss; ignite shows one an epoch.

    Args:
        interval: iterations between two updates of the loss; each fetches it from the device.
    """

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(RunEvents.ENDED, self._close)

    def _open(self, engine: Engine) -> None:
        total, start = engine.state.max_epochs * engine.state.epoch_length, engine.state.iteration
        look = {"desc": "training", "unit": "it", "dynamic_ncols": True, "disable": rank() > 0}
        self.bar = tqdm(total=total, initial=start, file=_Terminal(sys.stderr), **look)

    def _advance(self, engine: Engine) -> None:
        self.bar.update()
        if engine.state.iteration % self.interval == 0:
            self.bar.set_postfix(loss=f"{float(engine.state.output[0]['loss']):.3g}")

    def _close(self) -> None:
        if self.bar is not None:  # None where training failed before it began
            self.bar.close()
