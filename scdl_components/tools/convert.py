# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the published networks as the weights of a bundle: a pair of V-Nets (CPS), or one MagicNet.

monai-scdl convert --student_a best_A.pth --student_b best_B.pth --output bundles/scdl_synapse/models/model.pt
monai-scdl convert --student_a magicnet_best.pth --output bundles/scdl_synapse/models/model.pt
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..atomic import save_atomically
from ..class_names import class_names
from ..errors import InputError
from ..networks.vnet import VNet
from ..networks.weights import WeightsError, differences
from .published_weights import FIRST, LAST, Published, listed, published_weights

# batches that a norm has seen in training; older checkpoints lack it, and inference never reads it
COUNTER = ".num_batches_tracked"
WAY_OUT = (
    "give --student_a and --student_b the files of the two V-Nets (<name>_A.pth and <name>_B.pth), or --student_a alone "
    "that of a MagicNet"
)


def convert(
    student_a: str, output: str, student_b: str | None = None, scdl: str | None = None, metadata: str | None = None
) -> str:
    """Writes the weights of the students as one file that the bundle's configs load.

    Args:
        student_a: state dict of a published network, bare or under "model" or "state_dict", with or without ``module.``
            before its keys: the V-Net (batch norm) of CPS, or MagicNet's (instance norm), which has one student.
        output: file to write, the bundle's ``models/model.pt``; complete or not at all.
        student_b: the V-Net of the other student.
        scdl: the SCDL module that belongs to a MagicNet, where it is a file of its own.
        metadata: the bundle's metadata.json, for its classes; None: ``configs/metadata.json`` of the bundle that
            ``output`` lies in.

    Returns:
        What has been written, and what has been left out.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or no published network with the bundle's classes.
        InputError: when both files hold the same weights, there is one too few or too many, or the output is a folder.
        StorageError: when the output cannot be written; what was there is intact.
        MissingFileError: when there is no metadata.
    """
    paths, target = [str(path) for path in (student_a, student_b) if path], Path(str(output))
    if target.is_dir():
        raise InputError(f"output is the folder {target}; name a file in it, e.g. {target / 'model.pt'}")
    metadata = str(metadata or target.resolve().parent.parent / "configs" / "metadata.json")
    names = class_names(metadata)
    found = [published_weights(path, WAY_OUT, scdl) for path in paths]
    students = [checked(path, each) for path, each in zip(paths, found)]
    for path, state in zip(paths, students):
        if len(state[LAST]) != len(names):
            raise WeightsError(
                f"{path} has {len(state[LAST])} classes; {metadata} has {len(names)} ({', '.join(names)}): "
                "write into the bundle of its dataset, or name that one's metadata with --metadata"
            )
    _check_number(paths, found)
    if len(students) == 2:
        _check_pair(paths, students)
    state = {f"students.{index}.{name}": value for index, s in enumerate(students) for name, value in s.items()}
    save_atomically(state, target, "Make room, or name another --output")
    number = "two students" if len(students) == 2 else f"one student of {found[0].kind}"
    lines = [f"{target}: {number}, num_filters {len(students[0][FIRST])}, {len(names)} classes"]
    if found[0].norm == "instance":
        lines += ["its configs: magicnet.yaml behind inference.yaml"]
    lines += [f"left out: {what} ({listed(values)})" for what, values in found[0].others.items() if values]
    return "\n".join(lines)


def checked(path: str, found: Published) -> dict[str, torch.Tensor]:
    """State dict of :py:class:`VNet` out of published weights; its sizes are read off them.

    Raises:
        WeightsError: when they are of another network.
    """
    state = found.network
    with torch.device("meta"):
        network = VNet(in_channels=1, out_channels=len(state[LAST]), num_filters=len(state[FIRST]), norm=found.norm)
    expected = network.state_dict()
    for name in expected:
        if name.endswith(COUNTER):
            state.setdefault(name, torch.tensor(0))
    state = {name: value for name, value in state.items() if name in expected or not name.endswith(COUNTER)}
    if differs := differences(state, expected):
        raise WeightsError(
            f"{path} is of another network than {found.kind} with {found.norm} norm, {len(state[FIRST])} filters and "
            f"{len(state[LAST])} classes: {differs}; {WAY_OUT}"
        )
    # in the network's order and types: a checkpoint may be of half precision
    return {name: state[name].to(value.dtype) for name, value in expected.items()}


def _check_number(paths: list[str], found: list[Published]) -> None:
    if {each.norm for each in found} == {"batch"} and len(paths) == 1:
        raise InputError(f"{paths[0]} is one of the two students of {found[0].kind}; {WAY_OUT}")
    if "instance" in {each.norm for each in found} and len(paths) == 2:
        kinds = " and ".join(f"{path} ({each.kind})" for path, each in zip(paths, found))
        raise InputError(f"{kinds} are no pair: MagicNet has one student; {WAY_OUT}")


def _check_pair(paths: list[str], students: list[Mapping[str, torch.Tensor]]) -> None:
    (a, b), (student_a, student_b) = students, paths
    if differences(a, b):
        raise WeightsError(
            f"{student_a} and {student_b} are no pair: {len(a[FIRST])} and {len(b[FIRST])} filters; "
            f"{WAY_OUT}; the pair must be of one training"
        )
    if all(torch.equal(a[name], b[name]) for name in a):
        raise InputError(f"{student_a} and {student_b} hold the same weights; {WAY_OUT}")
