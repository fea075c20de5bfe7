# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation by a faster equal of the network."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from ..networks.fold import fold_batch_norm


class FoldedBatchNorm:
    """Evaluate a copy of a network in which batch norms are part of the convolutions.

    It is made when the engine first starts (:py:func:`~scdl_components.networks.fold.fold_batch_norm`): attach this
    behind what loads weights.

    Args:
        network: stays as it is; ``engine.network`` becomes the copy.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if engine.network is self.network:  # the engine is started anew for each case
            engine.network = fold_batch_norm(self.network)
