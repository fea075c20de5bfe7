# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Weights that an evaluation starts from."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from ..networks.weights import load_weights


class WeightsLoader:
    """Load a network's weights when the engine first starts, or say why that cannot be.

    Args:
        path: state dict of the network, as the training writes it to ``models/model.pt``.
        network: network to load into.

    Raises:
        WeightsError: at the start of the engine.
    """

    def __init__(self, path: str, network: torch.nn.Module) -> None:
        self.path = path
        self.network = network
        self.loaded = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if not self.loaded:  # the engine is started anew for each case
            load_weights(self.path, self.network)
            self.loaded = True
