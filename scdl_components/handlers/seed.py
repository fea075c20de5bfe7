# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers as a function of the iteration."""

import numpy as np
import torch
from ignite.engine import Engine, Events


class IterationSeed:
    """Seed Torch at the start of each iteration from seed and iteration.

    Dropout and proxy samples of an iteration are then the same in a training that was resumed and in one that was not.

    Args:
        seed: of the whole training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.seed, engine.state.iteration]).generate_state(1)[0]))
