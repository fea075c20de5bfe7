# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Weights that an evaluation starts from."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader

from ..errors import MissingFileError


class WeightsLoader:
    """Loads a network's weights when the engine starts, and says what to do when there are none.

    Args:
        path: state dict of the network, as the training writes it to ``models/model.pt``.
        network: network to load into.
        map_location: device to load to.

    Raises:
        MissingFileError: at the start of the engine, when there is no such file.
    """

    def __init__(self, path: str, network: torch.nn.Module, map_location: torch.device | str = "cpu") -> None:
        self.path = path
        self.loader = CheckpointLoader(load_path=path, load_dict={"model": network}, map_location=map_location)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if not Path(self.path).is_file():
            raise MissingFileError(
                f"no weights at {self.path}: train first (python -m monai.bundle run training --config_file "
                "<bundle>/configs/train.yaml), or name a file with --weights"
            )
        self.loader(engine)
