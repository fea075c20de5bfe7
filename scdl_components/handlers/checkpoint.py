# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training, to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver

from ..errors import MissingFileError


class TrainingCheckpoint:
    """Saves everything that training changes at an interval and at its end, and resumes from such a file.

    Files are ``checkpoint_<iteration>.pt``, written to a temporary name and renamed. The trainer's own state is part of
    them; sampling and random numbers need none, being functions of the iteration.

    Args:
        save_dir: folder of the checkpoints, created when missing.
        save_dict: name -> object with ``state_dict`` and ``load_state_dict``.
        interval: iterations between two checkpoints.
        n_saved: how many of the newest are kept.
        resume: path of a checkpoint to go on from; empty to start anew.

    Raises:
        MissingFileError: at the start of training, when ``resume`` is not a file.
    """

    def __init__(
        self, save_dir: str, save_dict: Mapping[str, object], interval: int, n_saved: int = 1, resume: str = ""
    ) -> None:
        self.save_dir = save_dir
        self.save_dict = dict(save_dict)
        self.interval = interval
        self.n_saved = n_saved
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        objects = {**self.save_dict, "trainer": engine}
        self.checkpoint = Checkpoint(
            objects,
            DiskSaver(self.save_dir, create_dir=True, require_empty=False),
            n_saved=self.n_saved,
            global_step_transform=lambda engine, event: engine.state.iteration,
            filename_pattern="checkpoint_{global_step}.pt",
        )
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval) | Events.COMPLETED, self._save)
        if self.resume:
            engine.add_event_handler(Events.STARTED, self._load, objects)

    def _save(self, engine: Engine) -> None:
        # at the end of training the interval may just have saved
        if self.checkpoint.last_checkpoint != f"checkpoint_{engine.state.iteration}.pt":
            self.checkpoint(engine)

    def _load(self, engine: Engine, objects: dict[str, object]) -> None:
        if not Path(self.resume).is_file():
            raise MissingFileError(f"cannot resume from {self.resume}: no such file; name one of {self.save_dir}")
        max_epochs = engine.state.max_epochs
        state = torch.load(self.resume, map_location="cpu", weights_only=True)
        Checkpoint.load_objects(to_load=objects, checkpoint=state)
        # the length of training is the config's, so that a finished training can be prolonged
        engine.state.max_epochs = max_epochs
