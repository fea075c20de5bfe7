# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints: which network they are of, and their weights in our names."""

from typing import Any

from torch import Tensor

from ..networks.weights import WeightsError, read_state

State = dict[str, Tensor]
WAY_OUT = (
    "give --student_a and --student_b the files of the two V-Nets (<name>_A.pth and <name>_B.pth), or --student_a alone "
    "that of a MagicNet"
)
# where a V-Net's state dict tells its number of filters and of classes
FIRST, LAST = "block_one.conv.0.weight", "out_conv.weight"
# batches that a norm has seen in training; older checkpoints lack it, and inference never reads it
COUNTER = ".num_batches_tracked"
# keys of a combined checkpoint: the network's, SCDL's
NETWORK_KEYS = ("model", "state_dict", "model_state_dict", "net")
SCDL_KEYS = ("scdl", "eprl")
# what stands beside the V-Net -> part of our names for it
BESIDE = {"location head": "fc_layer.", "projections of priors": ".projection.", "SCDL module": "bank."}
# 1³ convolutions: projections of SCDL's priors, and those of tokens that no published network applies
PROJECTIONS = {
    "decoder.p12": "block_five_up",
    "decoder.p24": "block_six_up",
    "decoder.p48": "block_seven_up",
    "decoder.p96": "block_eight_up",
    "prior_to_feat": "block_nine",
    "prior_proj5": "block_five",
    "x4_to_xdim": "block_four",
}


def published_weights(path: str, scdl: str | None = None) -> tuple[str, State]:
    """Read a checkpoint and tell what it is of.

    Args:
        path: of the network, alone or with its SCDL module under "scdl" or "eprl".
        scdl: path of the SCDL module, where it is not in the same file.

    Returns:
        "V-Net" or "MagicNet"; its weights as our V-Net names them, with what ``BESIDE`` lists: ``bank.<name>`` of the
        SCDL module's proxy bank, and ``<module>.projection.weight`` for priors after a module of the V-Net.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or of none of them; the message says what was found.
    """
    found, module = _read(path, NETWORK_KEYS), _read(scdl or path, (*SCDL_KEYS, *NETWORK_KEYS))
    kind, weights = "V-Net", found
    if any(name.startswith("encoder.block_one.") for name in found):
        kind, weights = "MagicNet", dict(_in_our_names(*item) for item in found.items())
    if any(name not in weights or weights[name].ndim != 5 for name in (FIRST, LAST)):
        what = "the SCDL module alone" if "sigma_emb" in found else "no state dict of the published V-Net or MagicNet"
        raise WeightsError(
            f"{path} holds {what}: expected {FIRST} and {LAST} of five dimensions, or the same below encoder. and "
            f"decoder., found {_listed(found)}; {WAY_OUT}"
        )
    if "sigma_emb" in module:
        module["embedding_sigma"] = module.pop("sigma_emb").flatten()
        return kind, weights | {f"bank.{name}": value for name, value in module.items()}
    if scdl is not None:
        raise WeightsError(f"{scdl} holds no SCDL module: expected sigma_emb, found {_listed(module)}; {WAY_OUT}")
    return kind, weights


def places_of_priors(weights: State) -> dict[str, dict[str, Any]]:
    """Map each possible place of priors to its keys of priors.yaml."""
    channels = weights["bank.encoder.0.weight"].shape[-1] if "bank.encoder.0.weight" in weights else 0
    # tokens with as many channels as filters come from the last features, too late for the stages
    tokens = {len(weights[FIRST]): "block_nine", 8 * len(weights[FIRST]): "block_four"}.get(channels)
    places = {"head": "block_nine"} if tokens == "block_nine" else {"stages": "block_five_up", "head": "block_nine"}
    if "block_five.projection.weight" in weights:  # its decoder has the other projections, but gets no prior there
        places = {"bottleneck": "block_five"} if tokens == "block_four" else {}
    found = {at: weights.get(f"{module}.projection.weight") for at, module in places.items()} if tokens else {}
    return {
        at: {
            "priors": ["published", "samples"][
                : max(1, projection.shape[1] // weights["bank.embedding_sigma"].numel())
            ],
            "prior_places": at,
            "feature_module": tokens,
            "embed_dim": weights["bank.embedding_sigma"].numel(),
            "proxy_bank#in_channels": channels,
        }
        for at, projection in found.items()
        if projection is not None
    }


def _in_our_names(name: str, value: Tensor) -> tuple[str, Tensor]:
    if (place := PROJECTIONS.get(name.removesuffix(".weight"))) and value.ndim == 5:
        return f"{place}.projection.weight", value.flatten(1)
    return name.removeprefix("encoder.").removeprefix("decoder."), value


def _read(path: str, wrappers: tuple[str, ...]) -> State:
    unsafe = "download it again, or ask for the state dict alone"
    state = read_state(path, if_missing=WAY_OUT, if_unsafe=unsafe, wrappers=wrappers)
    return {name.removeprefix("module."): value for name, value in state.items() if not name.endswith(COUNTER)}


def _listed(state: State) -> str:
    first = [f"{name} {tuple(value.shape)}" for name, value in list(state.items())[:3]]
    return ", ".join(first + ["..."] * (len(state) > 3)) or "no tensors"
