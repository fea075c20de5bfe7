# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The network's weights: loaded at the start of a run, saved by a training."""

import logging
import math
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn

from ..atomic import file_hash, save_on_rank_zero
from ..distributed import from_rank_zero, on_rank_zero
from ..networks.weights import load_weights

logger = logging.getLogger(__name__)


class WeightsLoader:
    """Load a network's weights when the engine first starts.

    Args:
        path: state dict of the network, as the training writes it to ``models/model.pt``.
        network: network to load into.

    Raises:
        WeightsError: at the start of the engine.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network
        self.loaded = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if not self.loaded:  # the engine is started anew for each case
            load_weights(self.path, self.network)
            self.loaded = True


class WeightsSaver:
    """Save the network's best weights as ``model.pt`` and its last ones as ``model_final.pt``.

    Each is written whole, or not at all: MONAI's CheckpointSaver removes the earlier file before it writes the next.
    The best are those of the validation with the best key metric. Where no validation could choose (there is none, or
    no label has an organ, so that the metric is never a number), they are the last ones.

    Attach it to trainer and evaluator, and put it into the training's checkpoint: after a resume the best weights are
    then overwritten by better ones alone, where ``model.pt`` is still the file that this training wrote.

    The weights that are validated are those that are saved: ranks without synchronised batch norm have statistics of
    their own, and take the first one's.

    Args:
        folder: where to.
        network: whose state dict is saved.
    """

    def __init__(self, folder: str, network: nn.Module) -> None:
        self.best_file, self.last_file = Path(folder) / "model.pt", Path(folder) / "model_final.pt"
        self.network = network
        self.best: dict[str, Any] = {"best_metric": -math.inf, "best_metric_epoch": -1, "file": ""}
        self.trainer: Engine | None = None
        self.evaluator: Evaluator | None = None

    def attach(self, engine: Engine) -> None:
        if isinstance(engine, Evaluator):
            self.evaluator = engine
            engine.add_event_handler(Events.STARTED, lambda: from_rank_zero(self.network.buffers()))
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_best)
        else:
            self.trainer = engine
            engine.add_event_handler(Events.COMPLETED, self._save_last)

    def _save_best(self, engine: Evaluator) -> None:
        name = engine.state.key_metric_name
        metric = float(engine.state.metrics[name])
        if metric > self.best["best_metric"]:
            logger.info("best %s so far, %.4f: %s", name, metric, self.best_file)
            save_on_rank_zero(self.network.state_dict(), self.best_file)
            epoch = engine.state.epoch
            if self.trainer is not None:  # ignite counts one less where a resumed training validates first
                epoch = math.ceil(self.trainer.state.iteration / self.trainer.state.epoch_length)
            file = on_rank_zero(file_hash)(self.best_file)
            self.best = {"best_metric": metric, "best_metric_epoch": epoch, "file": file}
        elif math.isnan(metric):
            logger.warning("%s is nan, is there no organ in the labels? This validation chooses no weights", name)

    def _save_last(self) -> None:
        save_on_rank_zero(self.network.state_dict(), self.last_file)
        if self.best["best_metric"] == -math.inf:
            save_on_rank_zero(self.network.state_dict(), self.best_file)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.best)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not self.best_file.is_file():
            return  # resumed in another folder, which has no best weights yet
        found = on_rank_zero(file_hash)(self.best_file)
        if state.get("file", found) != found:
            return  # another training's
        self.best = dict(state)
        if self.evaluator is not None and self.best["best_metric_epoch"] != -1:
            # MONAI's own record of it, which its logs show
            self.evaluator.state.best_metric = self.best["best_metric"]
            self.evaluator.state.best_metric_epoch = self.best["best_metric_epoch"]
