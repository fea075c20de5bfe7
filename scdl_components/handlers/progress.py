# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Progress on the terminal."""

from __future__ import annotations

from ignite.engine import Engine, Events
from tqdm.auto import tqdm


class TrainingProgressBar:
    """One bar over all iterations of the training, with the loss terms.

    Args:
        interval: iterations between two updates of the losses; each fetches them from the device.
    """

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._show)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _open(self, engine: Engine) -> None:
        total = engine.state.max_epochs * engine.state.epoch_length
        self.bar = tqdm(total=total, initial=engine.state.iteration, desc="training", unit="it", dynamic_ncols=True)

    def _advance(self, engine: Engine) -> None:
        self.bar.update(1)

    def _show(self, engine: Engine) -> None:
        scalars = engine.state.output["scalars"]
        terms = {name: float(value) for name, value in scalars.items() if f"weight/{name}" in scalars}
        self.bar.set_postfix({"loss": f"{float(scalars['loss']):.3g}"} | {k: f"{v:.3g}" for k, v in terms.items()})

    def _close(self, engine: Engine, *exception: BaseException) -> None:
        self.bar.close()
        if exception:
            raise exception[0]
