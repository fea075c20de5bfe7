# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training, to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from torch.utils.tensorboard import SummaryWriter

from .. import __version__
from ..atomic import check_writable, read_saved, save_on_rank_zero
from ..errors import InputError
from ..networks.weights import differences, shapes
from .checkpoint_files import checkpoints_in, make_room
from .config_check import changes
from .resume import Start
from .schedules import apply_settings, is_schedule


class MismatchError(InputError):
    """A checkpoint of networks or proxies of other sizes."""


class TrainingCheckpoint:
    """Saves everything that training changes at an interval and at its end, and resumes from such a file.

    Files are ``checkpoint_<iteration>.pt``, each written to a temporary name, flushed and renamed, before the oldest is
    removed. The trainer's own state and its AMP scaler are part of them. Random states are not: crops, order of cases
    and Torch's generator are functions of seed and iteration (:py:class:`IterationSeed`).

    Args:
        save_dir: folder of the checkpoints, created when missing.
        save_dict: name -> object with ``state_dict`` and ``load_state_dict``.
        interval: iterations between two checkpoints.
        n_saved: how many of the newest are kept.
        start: of :func:`find_start`. What another training left in ``save_dir`` is kept in ``earlier_<n>`` there, or else
            its checkpoints are removed; its weights stay in their place, too, until a validation overwrites them.
        logs: flushed before each checkpoint, which then has no gap before it in them.

    Raises:
        MissingFileError, DamagedFileError: at the start of training, when ``start`` names no checkpoint.
        MismatchError: at its start, when ``start``'s does not fit the present networks; nothing has been moved then.
        StorageError: at its start and whenever a checkpoint cannot be written.
    """

    def __init__(
        self,
        save_dir: str,
        save_dict: Mapping[str, object],
        interval: int,
        n_saved: int = 2,
        start: Start = Start(),
        logs: Sequence[SummaryWriter] = (),
    ) -> None:
        if n_saved < 1:
            raise ValueError(f"n_saved is {n_saved}; at least one checkpoint is kept")
        self.save_dir = Path(save_dir)
        self.save_dict = dict(save_dict)
        self.interval = interval
        self.n_saved = n_saved
        self.resume = start.checkpoint
        self.keep_earlier = start.keep_earlier
        self.settings = start.settings
        self.logs = list(logs)
        self._saved_iteration: int | None = None

    def attach(self, engine: Engine) -> None:
        self.engine = engine
        engine.add_event_handler(Events.STARTED, self._start)

    def save(self, *, validate_first: bool = False) -> Path:
        """Saves now; ``validate_first`` when the validation of this iteration is still to come."""
        engine = self.engine
        for log in self.logs:
            log.flush()
        content = {name: item.state_dict() for name, item in self._objects().items()}
        content |= {"version": __version__, "settings": self.settings, "validate_first": validate_first}
        path = self.save_dir / f"checkpoint_{engine.state.iteration}.pt"
        save_on_rank_zero(content, path)
        self._saved_iteration = engine.state.iteration
        # only now: with one kept, removing it first would leave none while this is written
        for old in checkpoints_in(self.save_dir)[self.n_saved :]:
            old.unlink(missing_ok=True)
        return path

    def _objects(self) -> dict[str, object]:
        scaler = getattr(self.engine, "scaler", None)  # made by MONAI's trainer when it is run
        return {**self.save_dict, "trainer": self.engine} | ({} if scaler is None else {"scaler": scaler})

    def _start(self, engine: Engine) -> None:
        if (
            self._saved_iteration is not None
        ):  # a run that another run of this trainer follows, as in federated learning
            return
        check_writable([self.save_dir])
        at_home = bool(self.resume) and Path(self.resume).resolve().parent == self.save_dir.resolve()
        content = read_saved(self.resume) if self.resume else {}
        self._check_sizes(content)
        make_room(self.save_dir, content["trainer"]["iteration"] if at_home else None, self.keep_earlier)
        if content:
            self._load(content)
        self._saved_iteration = engine.state.iteration if at_home else -1
        # added here to come after the validation: a checkpoint then knows the best metric
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.COMPLETED, self.save_once)

    def save_once(self, *, validate_first: bool = False) -> None:
        """Saves now, unless this iteration has been saved."""
        if self._saved_iteration != self.engine.state.iteration:
            self.save(validate_first=validate_first)

    def _check_sizes(self, content: dict) -> None:
        modules = {name: item for name, item in self.save_dict.items() if isinstance(item, torch.nn.Module)}
        for name in modules.keys() & content.keys():
            found, expected = shapes(content[name]), shapes(modules[name].state_dict())
            if found != expected:
                raise MismatchError(
                    f"{self.resume} is of networks or proxies of other sizes: {differences(found, expected)}. Give the "
                    "keys it was trained with, e.g. --num_filters, --embed_dim; or train anew with --resume never (the "
                    "earlier files are kept)"
                )

    def _load(self, content: dict) -> None:
        engine = self.engine
        changed = bool(changes(content.get("settings"), self.settings))
        max_epochs = engine.state.max_epochs
        objects = {name: item for name, item in self._objects().items() if content.get(name)}
        given = {name: item.state_dict() for name, item in objects.items() if is_schedule(item)}
        Checkpoint.load_objects(to_load=objects, checkpoint=content)
        # the length of training is the config's, so that a finished training can be prolonged
        engine.state.max_epochs = max_epochs
        if changed or max_epochs != content["trainer"]["max_epochs"]:
            for name, state in given.items():
                apply_settings(objects[name], state, engine.state.iteration)
