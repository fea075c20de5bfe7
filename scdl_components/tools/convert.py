# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the published networks as the weights of a bundle.

monai-scdl convert --student_a best_A.pth --student_b best_B.pth --output bundles/scdl_synapse/models/model.pt
monai-scdl convert --student_a magicnet_best.pth --output bundles/scdl_synapse/models/model.pt
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..atomic import save_atomically
from ..bundle import class_names
from ..errors import InputError
from ..networks import PriorNetwork, VNet
from ..networks.weights import WeightsError, differences
from ..proxies import ProxyBank
from .published_weights import BESIDE, COUNTER, FIRST, LAST, WAY_OUT, State, places_of_priors, published_weights

# the published inference averages probabilities, over windows 32, 32 and 16 of 96 voxels apart
PUBLISHED_WINDOWS = {
    "overlap": [0.666, 0.666, 0.833],
    "window_weights": "constant",
    "window_activation": "$torch.nn.Softmax(dim=1)",
}


def convert(
    student_a: str,
    output: str,
    student_b: str | None = None,
    scdl: str | None = None,
    prior_places: str | None = None,
    metadata: str | None = None,
) -> str:
    """Write published weights as one file that the bundle's configs load.

    Args:
        student_a: state dict of a published network, bare or under "model" or "state_dict", with or without ``module.``
            before its keys: the V-Net (batch norm) of CPS, or MagicNet's (instance norm), which has one student.
        output: file to write, the bundle's ``models/model.pt``; complete or not at all.
        student_b: the V-Net of the other student.
        scdl: the SCDL module that belongs to a MagicNet, where it is a file of its own.
        prior_places: where priors are added, as in priors.yaml, or "none"; None: at the place that the checkpoint has
            weights for, and "none" where there are several.
        metadata: the bundle's metadata.json, for its classes; None: ``configs/metadata.json`` of the bundle that
            ``output`` lies in.

    Returns:
        What has been written, what has been left out, and the command that segments with it.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or no published network with the bundle's classes.
        InputError: when both files hold the same weights, there is one too few or too many, the output is a folder, or
            the checkpoint has no priors at ``prior_places``.
        StorageError: when the output cannot be written; what was there is intact.
        MissingFileError: when there is no metadata.
    """
    paths, target = [str(path) for path in (student_a, student_b) if path], Path(str(output))
    if target.is_dir():
        raise InputError(f"output is the folder {target}; name a file in it, e.g. {target / 'model.pt'}")
    metadata = str(metadata or target.resolve().parent.parent / "configs" / "metadata.json")
    names = class_names(metadata)
    found = [published_weights(path, scdl) for path in paths]
    for path, (_, weights) in zip(paths, found):
        if (classes := len(weights[LAST])) != len(names):
            raise WeightsError(
                f"{path} has {classes} classes; {metadata} has {len(names)} ({', '.join(names)}): write into the bundle "
                "of its dataset, or name that one's metadata with --metadata"
            )
    kind, weights = found[0]
    places = places_of_priors(weights)
    place = prior_places or (next(iter(places)) if len(places) == 1 else "none")
    if place not in (*places, "none"):
        raise InputError(
            f"prior_places is {place!r}; {paths[0]} allows {[*places, 'none']}, with the SCDL module in it or at --scdl"
        )
    keys = places.get(place, {})
    students = [_network(path, *each, keys) for path, each in zip(paths, found)]
    _check_students(paths, [kind for kind, _ in found], students)
    state = {f"students.{i}.{name}": value for i, s in enumerate(students) for name, value in s.state_dict().items()}
    save_atomically(state, target, "Make room, or name another --output")

    filters = len(weights[FIRST])
    number = "two students" if len(students) == 2 else f"one student of the published {kind}"
    priors = f", priors at {place}" if keys else f", no priors (--prior_places: {', '.join(places)})" if places else ""
    lines = [f"{target}: {number}, num_filters {filters}, {len(names)} classes{priors}"]
    left = [name for name in weights if name not in _names(students[0])]
    if what := [what for what, part in BESIDE.items() if any(part in name for name in left)]:
        lines.append(f"left out: {', '.join(what)}")
    overlays = ["priors"] * bool(keys) + ["magicnet"] * (kind == "MagicNet")
    configs = [str(Path(metadata).with_name(f"{name}.yaml")) for name in ("inference", *overlays)]
    options = {"config_file": configs, "weights": str(target), "num_filters": filters, **keys, **PUBLISHED_WINDOWS}
    told = [f"--{key} {shlex.quote(v if isinstance(v, str) else json.dumps(v))}" for key, v in options.items()]
    command = ["segment with: python -m monai.bundle run", *told, "--dataset_dir /path/of/ct.nii.gz"]
    return "\n".join([*lines, " ".join(command)])


def _names(network: nn.Module) -> dict[str, str]:
    """Map names of published weights to those of the network, where priors wrap modules."""
    own = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    return {name.replace(".module", "").removeprefix("network."): name for name in own}


def _network(path: str, kind: str, weights: State, keys: Mapping[str, Any]) -> nn.Module:
    """Build the network of published weights, with priors where there are keys of priors.yaml.

    Raises:
        WeightsError: when they are of another network.
    """
    filters, classes = len(weights[FIRST]), len(weights[LAST])
    network: nn.Module = VNet(1, classes, filters, norm := "instance" if kind == "MagicNet" else "batch")
    if keys:
        bank = ProxyBank(keys["proxy_bank#in_channels"], classes, keys["embed_dim"])
        network = PriorNetwork(network, bank, keys["prior_places"], keys["feature_module"], keys["priors"])
    names, own, aside = _names(network), network.state_dict(), tuple(BESIDE.values())
    state = {name: v for name, v in weights.items() if name in names or not any(part in name for part in aside)}
    if differs := differences(state, {name: own[full] for name, full in names.items()}):
        raise WeightsError(
            f"{path} is of another network than the published {kind} with {norm} norm, {filters} filters and {classes} "
            f"classes: {differs}; {WAY_OUT}"
        )
    network.load_state_dict({names[name]: value for name, value in state.items()}, strict=False)
    return network


def _check_students(paths: list[str], kinds: list[str], students: list[nn.Module]) -> None:
    files = " and ".join(paths)
    if kinds == ["V-Net"]:
        raise InputError(f"{files} is one of the two students of the published V-Net; {WAY_OUT}")
    if len(paths) == 2 and "MagicNet" in kinds:
        raise InputError(f"{files} are no pair: MagicNet has one student; {WAY_OUT}")
    a, b = students[0].state_dict(), students[-1].state_dict()
    if differences(a, b):
        raise WeightsError(
            f"{files} are no pair: {len(a[FIRST])} and {len(b[FIRST])} filters; {WAY_OUT} of one training"
        )
    if len(paths) == 2 and all(torch.equal(a[name], b[name]) for name in a):
        raise InputError(f"{files} hold the same weights; {WAY_OUT}")
