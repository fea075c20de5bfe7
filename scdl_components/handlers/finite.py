# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses and gradients that are not finite."""

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from ignite.engine import Engine, Events

from ..errors import UserError

logger = logging.getLogger(__name__)


class NonFiniteCheck:
    """Report the files of undone steps; end training after too many in a row.

    Args:
        max_in_row: undone steps in a row that end the training.
        files: called with an iteration, counted from 0, for the files of its batch.
        interval: iterations between two looks, each of which waits for the device.

    Raises:
        UserError: at the first look after ``max_in_row`` of them. The last checkpoint is older, or has the same
            weights.
    """

    def __init__(self, max_in_row: int, files: Callable[[int], Sequence[str]], interval: int = 1) -> None:
        self.max_in_row = max_in_row
        self.files = files
        self.interval = interval
        self.in_row = 0
        self.unseen: list[tuple[int, torch.Tensor, Mapping]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.COMPLETED, self._look)

    def _note(self, engine: Engine) -> None:
        sample = engine.state.output[0]
        self.unseen.append((engine.state.iteration, sample["finite"], sample["scalars"]))

    def _look(self) -> None:
        seen, self.unseen = self.unseen, []
        finite = torch.stack([flag for _, flag, _ in seen]).tolist() if seen else []  # in one transfer
        for ok, (iteration, _, scalars) in zip(finite, seen):
            self.in_row = 0 if ok else self.in_row + 1
            if not ok:
                # not the curves of a host, which may have one for each class
                names = ["loss", "learning_rate", *(name for name in scalars if f"weight/{name}" in scalars)]
                self._tell(iteration, {name: float(scalars[name]) for name in names})

    def _tell(self, iteration: int, values: Mapping[str, float]) -> None:
        logger.warning(
            "iteration %d: loss or gradient is not finite; step undone (%d in a row; in float16 one now and then is "
            "usual), batch: %s; %s",
            iteration,
            self.in_row,
            ", ".join(self.files(iteration - 1)),
            ", ".join(f"{name}={value:.4g}" for name, value in values.items()),
        )
        if self.in_row >= self.max_in_row:
            paths = [path for i in range(iteration - self.in_row, iteration) for path in self.files(i)]
            files = "\n".join(f"- {path}" for path in dict.fromkeys(paths))
            raise UserError(
                f"loss or gradient was not finite {self.in_row} times in a row (max_in_row), up to iteration "
                f"{iteration}; the weights are those of before. The loss was {values['loss']:.4g}, the learning rate "
                f"{values['learning_rate']:.4g}. A learning rate too high is the usual cause (--learning_rate, --resume "
                f"never); else look at the files of these batches:\n{files}"
            )
