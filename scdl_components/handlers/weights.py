# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Weights that an evaluation starts from."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from ..errors import UserError


class WeightsError(UserError):
    """Weights that are missing, unreadable or of another network."""


def file_hash(path: str) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


class WeightsLoader:
    """Loads a network's weights when the engine first starts, and says what to do when that cannot be.

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


def load_weights(path: str, network: torch.nn.Module) -> None:
    """Loads a state dict, bare or under the key "model", into a network of exactly this shape.

    Raises:
        WeightsError: with what was found and what was expected.
    """
    if not Path(path).is_file():
        raise WeightsError(
            f"no weights at {path}: train first (python -m monai.bundle run training --config_file "
            "<bundle>/configs/train.yaml), or name a file with --weights"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is no file of weights that can be loaded safely ({type(error).__name__}): it is damaged, or holds "
            "more than tensors; train again, or name another file with --weights"
        ) from error
    state = state.get("model", state) if isinstance(state, Mapping) else {}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}
    if found != expected:
        raise WeightsError(f"{path} holds weights of another network: {differences(found, expected)}")
    network.load_state_dict(state)


def differences(found: Mapping[str, tuple], expected: Mapping[str, tuple], shown: int = 3) -> str:
    """First differences between the shapes of two state dicts, in words."""
    lines = [f"{n} is {found[n]}, not {expected[n]}" for n in expected if n in found and found[n] != expected[n]]
    lines += [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is not expected" for name in found if name not in expected]
    more = f" and {len(lines) - shown} more" if len(lines) > shown else ""
    return "; ".join(lines[:shown]) + more + ". Give the keys it was trained with, e.g. --num_filters"
