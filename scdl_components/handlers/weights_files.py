# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The network's weights that a training hands out: the best and the last ones."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn

from ..atomic import save_on_rank_zero

logger = logging.getLogger(__name__)


class FinalWeights:
    """Saves the network's weights when a training has come to its end; whole, or not at all.

    Args:
        path: where to.
        network: whose state dict is saved.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self) -> None:
        save_on_rank_zero(self.network.state_dict(), self.path)


class BestWeights:
    """Saves the network's weights whenever a validation's key metric is better than all before; whole, or not at all.

    Attached to the trainer as well: the last weights where no validation could choose, for there is none or its metric
    was never a number (no label has an organ). Its state belongs into the training's checkpoint: a resumed training then overwrites the best weights by better ones
    alone.

    Args:
        path: where to.
        network: whose state dict is saved.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network
        self.best: dict[str, Any] = {"best_metric": -math.inf, "best_metric_epoch": -1}
        self.evaluator: Evaluator | None = None

    def attach(self, engine: Engine) -> None:
        if isinstance(engine, Evaluator):
            self.evaluator = engine
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        else:
            engine.add_event_handler(Events.COMPLETED, self._save_last)

    def __call__(self, engine: Evaluator) -> None:
        name, metric = engine.state.key_metric_name, float(engine.state.metrics[engine.state.key_metric_name])
        if metric > self.best["best_metric"]:
            self.best = {"best_metric": metric, "best_metric_epoch": engine.state.epoch}
            logger.info("best %s so far, %.4f: %s", name, metric, self.path)
            save_on_rank_zero(self.network.state_dict(), self.path)
        elif not math.isfinite(metric) and self.best["best_metric"] == -math.inf:
            logger.warning(
                "%s is %s, is there no organ in the labels? %s holds the last weights", name, metric, self.path
            )
            save_on_rank_zero(self.network.state_dict(), self.path)

    def _save_last(self) -> None:
        if self.best["best_metric"] == -math.inf:
            save_on_rank_zero(self.network.state_dict(), self.path)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.best)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not Path(self.path).is_file():
            return  # resumed in another folder: the record would keep the next weights from being saved there
        self.best = dict(state)
        if self.evaluator is not None and self.best["best_metric_epoch"] != -1:
            # MONAI's own record of it, which its logs show
            self.evaluator.state.best_metric = self.best["best_metric"]
            self.evaluator.state.best_metric_epoch = self.best["best_metric_epoch"]
