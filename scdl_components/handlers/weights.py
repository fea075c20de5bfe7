# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Weights that an evaluation starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from ..errors import UserError

# under which a state dict may stand: MONAI's and ignite's checkpoints, and the usual name elsewhere
WRAPPERS = ("model", "state_dict")


class WeightsError(UserError):
    """Weights that are missing, unreadable or of another network."""


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
    state = read_state(
        path,
        if_missing="train first (python -m monai.bundle run training --config_file <bundle>/configs/train.yaml), "
        "name a file with --weights, or in training start without, --load_pretrain False",
        if_unsafe="train again, or name another file with --weights",
    )
    expected, found = shapes(network.state_dict()), shapes(state)
    if found != expected:
        raise WeightsError(
            f"{path} holds weights of another network: {differences(found, expected)}. Give the keys it was trained "
            "with, e.g. --num_filters, --network_def#initializers; checkpoints of single students are put together by "
            "python -m scdl_components.networks.convert"
        )
    network.load_state_dict(state)


def read_state(path: str, if_missing: str, if_unsafe: str) -> dict[str, torch.Tensor]:
    """The state dict of a file, bare or under one of the keys of ``WRAPPERS``.

    Args:
        path: file as torch.save writes it.
        if_missing: the way out when there is no such file; ends the message.
        if_unsafe: the way out when the file is damaged or holds more than tensors.

    Returns:
        The file's tensors by name, on the CPU; what is no tensor is left out.

    Raises:
        WeightsError: when the file is missing, damaged, or would have to run code to be loaded.
    """
    if not Path(path).is_file():
        raise WeightsError(f"no weights at {path}: {if_missing}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # the unpickler ends damaged bytes with whatever they lead to: KeyError, IndexError, struct.error, ...
    except Exception as error:
        raise WeightsError(
            f"{path} is no file of weights that can be loaded safely ({type(error).__name__}): it is damaged, or holds "
            f"more than tensors; {if_unsafe}"
        ) from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value for name, value in items if isinstance(value, torch.Tensor)}


def shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each entry of a state dict."""
    return {name: tuple(value.shape) for name, value in state.items()}


def differences(found: Mapping[str, tuple], expected: Mapping[str, tuple], shown: int = 3) -> str:
    """First differences between the shapes of two state dicts, in words."""
    lines = [f"{n} is {found[n]}, not {expected[n]}" for n in expected if n in found and found[n] != expected[n]]
    lines += [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is not expected" for name in found if name not in expected]
    more = f" and {len(lines) - shown} more" if len(lines) > shown else ""
    return "; ".join(lines[:shown]) + more
