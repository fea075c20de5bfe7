# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses and gradients that are no numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from ignite.engine import Engine, Events

from ..errors import UserError

logger = logging.getLogger(__name__)


class NonFiniteError(UserError, FloatingPointError):
    """A training whose loss or gradient was not finite too often in a row."""


class NonFiniteCheck:
    """Names the files of each batch whose step the trainer undid, counts them, and ends a training of nothing else.

    Args:
        max_in_row: so many undone steps in a row end the training.
        files: called with an iteration, counted from 0, for the files of its batch.
        interval: iterations between two looks, each of which waits for the device.

    Raises:
        NonFiniteError: at the first look after ``max_in_row`` of them; the last checkpoint is of before or has the same
            weights.
    """

    def __init__(self, max_in_row: int, files: Callable[[int], Sequence[str]], interval: int = 1) -> None:
        self.max_in_row = max_in_row
        self.files = files
        self.interval = interval
        self.counts = {"skipped": 0, "in_row": 0}
        self.unseen: list[tuple[int, bool | torch.Tensor, Mapping]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.COMPLETED, self.look)

    def _note(self, engine: Engine) -> None:
        self.unseen.append((engine.state.iteration, engine.state.output["finite"], engine.state.output["scalars"]))

    def look(self) -> None:
        """Goes through the iterations since the last look."""
        if not self.unseen:
            return
        finite = torch.stack([torch.as_tensor(flag) for _, flag, _ in self.unseen]).tolist()
        seen, self.unseen = self.unseen, []
        for flag, (iteration, _, scalars) in zip(finite, seen):
            if flag:
                self.counts["in_row"] = 0
            else:
                self._count(iteration, scalars)

    def _count(self, iteration: int, scalars: Mapping) -> None:
        self.counts = {name: count + 1 for name, count in self.counts.items()}
        values = {name: float(value) for name, value in scalars.items() if not name.startswith("weight/")}
        logger.warning(
            "iteration %d: loss or gradient is not finite; step undone (%d in a row, %d of all, in float16 one now and "
            "then is usual), batch: %s; %s",
            iteration,
            self.counts["in_row"],
            self.counts["skipped"],
            ", ".join(self.files(iteration - 1)),
            ", ".join(f"{name}={value:.4g}" for name, value in values.items()),
        )
        if self.counts["in_row"] >= self.max_in_row:
            files = "\n".join(f"- {path}" for path in dict.fromkeys(self._files_of_row(iteration)))
            raise NonFiniteError(
                f"loss or gradient was not finite {self.counts['in_row']} times in a row (max_nonfinite), up to "
                f"iteration {iteration}; the weights are those of before. The loss was {values['loss']:.4g}, the "
                f"learning rate {values['learning_rate']:.4g}. A learning rate too high is the usual cause "
                f"(--learning_rate, --resume never); else look at the files of these batches:\n{files}"
            )

    def _files_of_row(self, iteration: int) -> list[str]:
        first = iteration - self.counts["in_row"]
        return [path for i in range(first, iteration) for path in self.files(i)]

    def state_dict(self) -> dict[str, int]:
        self.look()
        return dict(self.counts)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.counts = dict(state)
