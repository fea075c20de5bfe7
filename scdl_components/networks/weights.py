# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights, and whether they fit a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..errors import UserError

# keys of a state dict in a file: MONAI's and ignite's, and the usual one elsewhere
WRAPPERS = ("model", "state_dict")
# the one entry of a file without weights, before the first training: monai-scdl untrained
UNTRAINED = "untrained"
SHOWN = 3  # differences in a message


class WeightsError(UserError):
    """Weights that are missing, unreadable or of another network."""


def load_weights(path: str, network: torch.nn.Module) -> None:
    """Load a file of weights into a network of exactly these names and shapes.

    Raises:
        WeightsError: with what was found and what was expected.
    """
    state = read_state(
        path,
        if_missing="train first (python -m monai.bundle run training --config_file <bundle>/configs/train.yaml), "
        "or name a file with --weights",
        if_unsafe="train again, or name another file with --weights",
    )
    check_fits(state, network.state_dict(), path)
    network.load_state_dict(state)


def check_fits(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], origin: str) -> None:
    """Compare weights with a network's own state dict by names and shapes.

    Raises:
        WeightsError: they differ, or are none yet; the message begins with ``origin``.
    """
    if UNTRAINED in state:
        raise WeightsError(f"{origin} holds no weights yet: train first")
    with_priors, has_priors = (any(".bank." in name for name in names) for names in (own, state))
    if with_priors and not has_priors:
        raise WeightsError(f"{origin} holds weights without proxies, which priors are made of: leave priors.yaml out")
    if has_priors and not with_priors:
        raise WeightsError(f"{origin} holds weights of a network with priors: put priors.yaml behind this config")
    if found := differences(state, own):
        raise WeightsError(
            f"{origin} holds weights of another network: {found}. Give the keys it was trained with, e.g. "
            "--num_filters, --network_def#initializers; checkpoints of single students are put together by "
            "monai-scdl convert"
        )


def read_state(
    path: str, if_missing: str, if_unsafe: str, wrappers: Sequence[str] = WRAPPERS
) -> dict[str, torch.Tensor]:
    """Read the state dict of a file, bare or under one of the keys ``wrappers``.

    Args:
        path: file as torch.save writes it.
        if_missing: the way out when there is no such file; ends the message.
        if_unsafe: the way out when the file is damaged or holds more than tensors.
        wrappers: keys, looked for in this order.

    Returns:
        The file's tensors by name, on the CPU; what is no tensor is left out.

    Raises:
        WeightsError: when the file is missing, damaged, or would have to run code to be loaded.
    """
    if not Path(path).is_file():
        raise WeightsError(f"no weights at {path}: {if_missing}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # damaged bytes make the unpickler raise anything: KeyError, IndexError, struct.error, ...
    except Exception as error:
        raise WeightsError(
            f"{path} is no file of weights that can be loaded safely ({type(error).__name__}): it is damaged, or holds "
            f"more than tensors; {if_unsafe}"
        ) from error
    for key in wrappers:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value for name, value in items if isinstance(value, torch.Tensor)}


def differences(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Name the first differences between two state dicts; empty where there is none."""
    sizes = {name: (tuple(found[name].shape), tuple(expected[name].shape)) for name in expected if name in found}
    lines = [f"{name} is {size}, not {wanted}" for name, (size, wanted) in sizes.items() if size != wanted]
    lines += [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is not expected" for name in found if name not in expected]
    return "; ".join(lines[:SHOWN]) + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
