# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training, to go on from."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from .. import __version__
from ..atomic import check_writable, read_saved, save_on_rank_zero
from ..errors import InputError
from ..networks.weights import differences
from .checkpoint_files import checkpoints_in, make_room
from .resume import Start
from .weights import WeightsSaver


class TrainingCheckpoint:
    """Save everything that training changes, at an interval and at the end, and resume.

    Files are ``checkpoint_<iteration>.pt``. Each is written whole (:func:`~scdl_components.atomic.whole_file`) before
    the oldest is removed. They hold the trainer's own state and its AMP scaler, too, but no random states: crops, order
    of cases and Torch's generator are functions of seed and iteration (:py:class:`IterationSeed`).

    Args:
        save_dir: folder of the checkpoints, created when missing.
        save_dict: name -> object with ``state_dict`` and ``load_state_dict``.
        interval: iterations between two checkpoints.
        n_saved: how many of the newest are kept.
        start: of :func:`find_start`. What another training left in ``save_dir`` is moved to ``earlier_<n>`` there, or
            its checkpoints are removed. Its weights also stay in place until a validation overwrites them.
        logs: flushed before each checkpoint, so that they have no gap before it.

    Raises:
        MissingFileError, DamagedFileError: at the start of training, when ``start`` names no checkpoint.
        InputError: at its start, when the checkpoint does not fit the present networks; nothing has been moved then.
        StorageError: at its start and whenever a checkpoint cannot be written.
    """

    def __init__(
        self,
        save_dir: str,
        save_dict: Mapping[str, Any],
        interval: int,
        n_saved: int = 2,
        start: Start | None = None,
        logs: Sequence[SummaryWriter] = (),
    ) -> None:
        if n_saved < 1:
            raise InputError(f"n_saved is {n_saved}; at least one checkpoint is kept")
        self.save_dir = Path(save_dir)
        self.save_dict = dict(save_dict)
        self.interval = interval
        self.n_saved = n_saved
        self.start = start or Start()
        self.logs = list(logs)
        self._saved_iteration: int | None = None  # None until the first run of the trainer

    def attach(self, engine: Engine) -> None:
        self.engine = engine
        engine.add_event_handler(Events.STARTED, self._start)

    def save_once(self, *, validate_first: bool = False) -> None:
        """Save this iteration, unless it has been saved.

        Args:
            validate_first: whether its validation is still to come.
        """
        iteration = self.engine.state.iteration
        if self._saved_iteration == iteration:
            return
        for log in self.logs:
            log.flush()
        content = {name: item.state_dict() for name, item in self._objects().items()}
        content |= {"version": __version__, "settings": self.start.settings, "validate_first": validate_first}
        content["origin"] = self.start.origin
        save_on_rank_zero(content, self.save_dir / f"checkpoint_{iteration}.pt")
        self._saved_iteration = iteration
        # only now: with one kept, removing it first would leave none while this is written
        for old in checkpoints_in(self.save_dir)[self.n_saved :]:
            old.unlink(missing_ok=True)

    def _objects(self) -> dict[str, Any]:
        scaler = getattr(self.engine, "scaler", None)  # made by MONAI's trainer when it is run
        return {**self.save_dict, "trainer": self.engine} | ({} if scaler is None else {"scaler": scaler})

    def _start(self, engine: Engine) -> None:
        if self._saved_iteration is not None:  # this trainer runs a second time, as in federated learning
            return
        check_writable([self.save_dir])
        file, done = self.start.checkpoint, None
        if file:
            self._load(read_saved(file))
            done = engine.state.iteration if Path(file).resolve().parent == self.save_dir.resolve() else None
        make_room(self.save_dir, done, self.start.keep_earlier)
        self._saved_iteration = -1 if done is None else done
        # added now to run after the validation: the checkpoint then has the best metric
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.COMPLETED, self.save_once)

    def _load(self, content: dict) -> None:
        objects = {name: item for name, item in self._objects().items() if content.get(name)}
        for name, item in objects.items():
            found = isinstance(item, torch.nn.Module) and differences(content[name], item.state_dict())
            if found:
                raise InputError(
                    f"{self.start.checkpoint} is of networks or proxies of other sizes: {found}. Give the keys it was "
                    "trained with, e.g. --num_filters, --embed_dim; or train anew with --resume never (the earlier "
                    "files are kept)"
                )
        for name, item in objects.items():
            if isinstance(item, WeightsSaver) and not self.start.same_validation:
                continue  # its record is of other validation cases
            load_state(item, content[name], content["trainer"]["iteration"])


def load_state(item: Any, state: dict, iteration: int) -> None:
    """Load what training has changed; learning rate, schedule and length stay those of the config.

    Args:
        item: object of a checkpoint.
        state: its saved state dict.
        iteration: of the checkpoint. A schedule makes as many steps, which gives the same rates to the bit.
    """
    if isinstance(item, LRScheduler):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the optimizer has made no step in between
            for _ in range(iteration):
                item.step()
        return
    if isinstance(item, Engine):
        # both lengths are the config's: training can be prolonged, go on with another batch size, or with more cases
        max_epochs, epoch_length = item.state.max_epochs, item.state.epoch_length
        item.load_state_dict({**state, "max_epochs": None, "epoch_length": epoch_length})
        item.state.max_epochs = max_epochs
        return
    if isinstance(item, torch.optim.Optimizer):
        state = {**state, "param_groups": item.state_dict()["param_groups"]}
    item.load_state_dict(state)
