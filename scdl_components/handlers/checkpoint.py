# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training, to go on from."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from torch.utils.tensorboard import SummaryWriter

from ..atomic import PART, check_writable, read_saved, save_on_rank_zero
from ..distributed import on_rank_zero
from ..errors import InputError
from .config_check import Settings, changes
from .weights import differences, shapes

logger = logging.getLogger(__name__)
WEIGHTS = ("model.pt", "model_final.pt")


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
        resume: path of a checkpoint to go on from; empty to start anew.
        keep_earlier: whether what another training left in ``save_dir`` is kept in ``earlier_<n>`` there; else its
            checkpoints are removed. Its weights stay in their place, too, until a validation overwrites them.
        settings: saved with it (:func:`training_settings`), for a resumed training to be compared with.
        logs: flushed before each checkpoint, which then has no gap before it in them; None is left out.

    Raises:
        MissingFileError, DamagedFileError: at the start of training, when ``resume`` is not a checkpoint.
        MismatchError: at its start, when ``resume`` does not fit the present networks; nothing has been moved then.
        StorageError: at its start and whenever a checkpoint cannot be written.
    """

    def __init__(
        self,
        save_dir: str,
        save_dict: Mapping[str, object],
        interval: int,
        n_saved: int = 2,
        resume: str = "",
        keep_earlier: bool = True,
        settings: Settings | None = None,
        logs: Sequence[SummaryWriter | None] = (),
    ) -> None:
        if n_saved < 1:
            raise ValueError(f"n_saved is {n_saved}; at least one checkpoint is kept")
        self.save_dir = Path(save_dir)
        self.save_dict = dict(save_dict)
        self.interval = interval
        self.n_saved = n_saved
        self.resume = resume
        self.keep_earlier = keep_earlier
        self.settings = settings
        self.logs = [log for log in logs if log is not None]

    def attach(self, engine: Engine) -> None:
        self.engine = engine
        engine.add_event_handler(Events.STARTED, self._start)

    def save(self, *, validate_first: bool = False) -> Path:
        """Saves now; ``validate_first`` when the validation of this iteration is still to come."""
        engine = self.engine
        for log in self.logs:
            log.flush()
        content = {name: item.state_dict() for name, item in self._objects().items()}
        content |= {"settings": self.settings, "validate_first": validate_first}
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
        check_writable([self.save_dir])
        at_home = bool(self.resume) and Path(self.resume).resolve().parent == self.save_dir.resolve()
        content = read_saved(self.resume) if self.resume else {}
        self._check_sizes(content)
        self._make_room(content["trainer"]["iteration"] if at_home else None)
        if content:
            self._load(content)
        self._saved_iteration = engine.state.iteration if at_home else -1
        if not engine.has_event_handler(self.save_once, Events.COMPLETED):
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

    def _weights_of_another(self) -> list[Path]:
        """Weights of an earlier training that are not kept yet."""
        kept = list(self.save_dir.glob("earlier_*/*.pt"))
        found = [self.save_dir / name for name in WEIGHTS]
        return [path for path in found if path.is_file() and not any(path.samefile(other) for other in kept)]

    @on_rank_zero
    def _make_room(self, done: int | None) -> None:
        self.save_dir.mkdir(parents=True, exist_ok=True)
        for part in self.save_dir.glob(f"*.pt{PART}"):  # of a process that was killed
            part.unlink(missing_ok=True)
        self._put_aside(done)

    def _put_aside(self, done: int | None) -> None:
        """What this training does not build on, for a later start not to take it for its own.

        Args:
            done: iteration of the checkpoint in this folder that it goes on from, if it does.
        """
        files = [path for path in checkpoints_in(self.save_dir) if done is None or iteration_of(path) > done]
        if not self.keep_earlier:
            for path in files:
                path.unlink(missing_ok=True)
            return
        weights = [] if done is not None else self._weights_of_another()
        if files or weights:
            folder = next(f for n in range(1, 10**6) if not (f := self.save_dir / f"earlier_{n}").exists())
            folder.mkdir()
            for path in files:
                path.rename(folder / path.name)
            for path in weights:
                link_or_copy(path, folder / path.name)
            logger.warning("what an earlier training left in %s is in %s now", self.save_dir, folder)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, which keeps its content when the first one is given another; a copy where none can be."""
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def is_schedule(item: object) -> bool:
    """Whether an object holds values of the config beside its state: learning rate, length of the schedule, ..."""
    return isinstance(item, (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler))


def apply_settings(item: object, given: dict, iteration: int) -> None:
    """Puts the config's values back into a loaded optimizer or scheduler, as if it had run with them so far.

    Args:
        item: with a loaded state.
        given: its state dict as the config made it.
        iteration: done so far.
    """
    if isinstance(item, torch.optim.Optimizer):
        item.load_state_dict({"state": item.state_dict()["state"], "param_groups": given["param_groups"]})
        return
    if "base_lrs" not in given:  # no schedule of the iteration alone, e.g. ReduceLROnPlateau
        return
    for group, rate in zip(item.optimizer.param_groups, given["base_lrs"], strict=True):
        group["lr"] = group["initial_lr"] = rate
    item.load_state_dict(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the optimizer has made no step in between
        for _ in range(iteration):
            item.step()


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Checkpoints of a folder, the one of the latest iteration first."""
    found = [path for path in Path(folder).glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+", path.stem)]
    return sorted(found, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """Iteration that a checkpoint's name tells."""
    return int(path.stem.removeprefix("checkpoint_"))
