# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the published networks a checkpoint is of, and its weights by what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..networks.weights import WeightsError, read_state

State = dict[str, Tensor]
# where a V-Net's state dict tells its number of filters and of classes
FIRST, LAST = "block_one.conv.0.weight", "out_conv.weight"
# keys of a combined checkpoint: the network's, SCDL's
NETWORK_KEYS = ("model", "state_dict", "model_state_dict", "net")
SCDL_KEYS = ("scdl", "eprl")
# projections of SCDL's priors: at the decoder's stages and of tokens for them, at the head, at the bottleneck
STAGES = ("decoder.p12.", "decoder.p24.", "decoder.p48.", "decoder.p96.", "x4_to_xdim.")
HEAD, BOTTLENECK = "prior_to_feat.", "prior_proj5."
LOCATION_HEAD = "fc_layer."


class Published(NamedTuple):
    """A published network.

    Attributes:
        kind: its name.
        norm: of its V-Net, as MONAI calls it.
        network: of the V-Net, in our names.
        others: further weights by what they are for: "location head", "projections of priors", "SCDL module".
    """

    kind: str
    norm: str
    network: State
    others: Mapping[str, State]


def published_weights(path: str, way_out: str, scdl: str | None = None) -> Published:
    """Read a checkpoint and tell what it is of.

    Args:
        path: of the network, alone or with its SCDL module under "scdl" or "eprl".
        way_out: ends the messages.
        scdl: path of the SCDL module, where it is not in the same file.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or of none of them; the message says what was found.
    """
    found = _read(path, way_out, NETWORK_KEYS)
    if any(name.startswith("encoder.block_one.") for name in found):
        return _magicnet(found, _scdl_module(scdl or path, way_out, needed=scdl is not None))
    if any(name not in found or found[name].ndim != 5 for name in (FIRST, LAST)):
        what = "the SCDL module alone" if "sigma_emb" in found else "no state dict of the published V-Net or MagicNet"
        raise WeightsError(
            f"{path} holds {what}: expected {FIRST} and {LAST} of five dimensions, or the same below encoder. and "
            f"decoder., found {listed(found)}; {way_out}"
        )
    return Published("the published V-Net", "batch", found, {})


def _magicnet(found: State, scdl: State) -> Published:
    projections = {name: value for name, value in found.items() if name.startswith((*STAGES, HEAD, BOTTLENECK))}
    location_head = {name: value for name, value in found.items() if name.startswith(LOCATION_HEAD)}
    network = {
        name.removeprefix("encoder.").removeprefix("decoder."): value
        for name, value in found.items()
        if name not in projections and name not in location_head
    }
    kind = "the published MagicNet"
    if any(name.startswith(BOTTLENECK) for name in projections):
        kind += " with SCDL's prior at the bottleneck"
    elif projections:
        kind += " with SCDL's prior at the stages or the head"
    others = {"location head": location_head, "projections of priors": projections, "SCDL module": scdl}
    return Published(kind, "instance", network, others)


def _scdl_module(path: str, way_out: str, needed: bool) -> State:
    found = _read(path, way_out, SCDL_KEYS)
    if "sigma_emb" in found and "proxies" in found:
        return found
    if needed:
        raise WeightsError(
            f"{path} holds no SCDL module: expected sigma_emb and proxies, found {listed(found)}; {way_out}"
        )
    return {}


def _read(path: str, way_out: str, wrappers: tuple[str, ...]) -> State:
    unsafe = "download it again, or ask for the state dict alone"
    state = read_state(path, if_missing=way_out, if_unsafe=unsafe, wrappers=wrappers)
    return {name.removeprefix("module."): value for name, value in state.items()}


def listed(state: Mapping[str, Tensor], shown: int = 3) -> str:
    """The first entries of a state dict, in words."""
    lines = [f"{name} {tuple(value.shape)}" for name, value in state.items()]
    more = f" and {len(lines) - shown} more" if len(lines) > shown else ""
    return ", ".join(lines[:shown]) + more if lines else "no tensors"
