# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the published networks a checkpoint is of, and its weights in our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ..networks.weights import WeightsError, read_state

State = dict[str, Tensor]
# where a V-Net's state dict tells its number of filters and of classes
FIRST, LAST = "block_one.conv.0.weight", "out_conv.weight"
# keys of a combined checkpoint: the network's, SCDL's
NETWORK_KEYS = ("model", "state_dict", "model_state_dict", "net")
SCDL_KEYS = ("scdl", "eprl")
# what stands beside the V-Net -> part of our names for it
BESIDE = {"location head": "fc_layer.", "projections of priors": ".projection.", "SCDL module": "bank."}
# projections of SCDL's priors (1³ convolutions of MagicNet), and of tokens for them, which no published network applies
PROJECTIONS = {
    "decoder.p12": "block_five_up",
    "decoder.p24": "block_six_up",
    "decoder.p48": "block_seven_up",
    "decoder.p96": "block_eight_up",
    "prior_to_feat": "block_nine",
    "prior_proj5": "block_five",
    "x4_to_xdim": "block_four",
}


class Published(NamedTuple):
    """A published network.

    Attributes:
        kind: its name.
        norm: of its V-Net, as MONAI calls it.
        weights: of the V-Net as our V-Net names them, and of what ``BESIDE`` lists: ``bank.<name>`` of the SCDL module's
            proxy bank, ``<module>.projection.weight`` for priors after a module of the V-Net.
    """

    kind: str
    norm: str
    weights: State


def published_weights(path: str, way_out: str, scdl: str | None = None) -> Published:
    """Read a checkpoint and tell what it is of.

    Args:
        path: of the network, alone or with its SCDL module under "scdl" or "eprl".
        way_out: ends the messages.
        scdl: path of the SCDL module, where it is not in the same file.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or of none of them; the message says what was found.
    """
    found, module = _read(path, way_out, NETWORK_KEYS), _read(scdl or path, way_out, (*SCDL_KEYS, *NETWORK_KEYS))
    kind, norm, network = "the published V-Net", "batch", found
    if any(name.startswith("encoder.block_one.") for name in found):
        kind, norm, network = "the published MagicNet", "instance", dict(_in_our_names(*item) for item in found.items())
    if any(name not in network or network[name].ndim != 5 for name in (FIRST, LAST)):
        what = "the SCDL module alone" if "sigma_emb" in found else "no state dict of the published V-Net or MagicNet"
        raise WeightsError(
            f"{path} holds {what}: expected {FIRST} and {LAST} of five dimensions, or the same below encoder. and "
            f"decoder., found {listed(found)}; {way_out}"
        )
    if "sigma_emb" in module:
        module["embedding_sigma"] = module.pop("sigma_emb").flatten()
        return Published(kind, norm, network | {f"bank.{name}": value for name, value in module.items()})
    if scdl is not None:
        raise WeightsError(f"{scdl} holds no SCDL module: expected sigma_emb, found {listed(module)}; {way_out}")
    return Published(kind, norm, network)


def places_of_priors(weights: State) -> dict[str, dict[str, Any]]:
    """Where a network with these weights, in our names, can have its priors -> the keys of priors.yaml for that."""
    filters, encoder = len(weights[FIRST]), weights.get("bank.encoder.0.weight")
    channels = 0 if encoder is None else encoder.shape[-1]
    if channels == filters:  # of the last features, which come too late for the stages
        tokens, places = "block_nine", {"head": "block_nine"}
    elif channels == 8 * filters:
        tokens, places = "block_four", {"stages": "block_five_up", "head": "block_nine"}
        if "block_five.projection.weight" in weights:  # the others are in that network, too, and get no prior
            places = {"bottleneck": "block_five"}
    else:
        return {}
    inputs = {at: weights.get(f"{module}.projection.weight") for at, module in places.items()}
    dim = weights["bank.embedding_sigma"].numel()
    return {
        at: {
            "priors": ["published", "samples"][: max(1, weight.shape[1] // dim)],
            "prior_places": at,
            "feature_module": tokens,
            "embed_dim": dim,
            "proxy_bank#in_channels": channels,
        }
        for at, weight in inputs.items()
        if weight is not None
    }


def _in_our_names(name: str, value: Tensor) -> tuple[str, Tensor]:
    if (place := PROJECTIONS.get(name.removesuffix(".weight"))) and value.ndim == 5:
        return f"{place}.projection.weight", value.flatten(1)
    return name.removeprefix("encoder.").removeprefix("decoder."), value


def _read(path: str, way_out: str, wrappers: tuple[str, ...]) -> State:
    unsafe = "download it again, or ask for the state dict alone"
    state = read_state(path, if_missing=way_out, if_unsafe=unsafe, wrappers=wrappers)
    return {name.removeprefix("module."): value for name, value in state.items()}


def listed(state: Mapping[str, Tensor], shown: int = 3) -> str:
    """The first entries of a state dict, in words."""
    lines = [f"{name} {tuple(value.shape)}" for name, value in state.items()]
    more = f" and {len(lines) - shown} more" if len(lines) > shown else ""
    return ", ".join(lines[:shown]) + more if lines else "no tensors"
