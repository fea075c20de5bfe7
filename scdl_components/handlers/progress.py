# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Progress on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from ..distributed import rank


class TrainingProgressBar:
    """One bar over all iterations of the training, with the loss and what each group of terms adds to it.

    Args:
        interval: iterations between two updates of the losses; each fetches them from the device.
    """

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._show)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _open(self, engine: Engine) -> None:
        total = engine.state.max_epochs * engine.state.epoch_length
        start = engine.state.iteration
        self.bar = tqdm(total=total, initial=start, desc="training", unit="it", dynamic_ncols=True, disable=rank() > 0)

    def _advance(self, engine: Engine) -> None:
        self.bar.update(1)

    def _show(self, engine: Engine) -> None:
        scalars = engine.state.output[0]["scalars"]
        shares = {"loss": float(scalars["loss"])} | weighted_by_group(scalars)
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in shares.items()})

    def _close(self, engine: Engine, *exception: BaseException) -> None:
        if self.bar is not None:  # what fails at the start of training fails before there is one
            self.bar.close()
        if exception:
            raise exception[0]


def weighted_by_group(scalars: Mapping[str, float | torch.Tensor]) -> dict[str, float]:
    """What each group of loss terms adds to the total: a group is what stands before the / in a term's name."""
    groups: dict[str, float] = {}
    for name, weight in scalars.items():
        if name.startswith("weight/"):
            term = name.removeprefix("weight/")
            group = term.split("/")[0]
            groups[group] = groups.get(group, 0.0) + weight * float(scalars[term])
    return groups
