# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the published SCDL, one for each student, put together to the weights of a bundle.

monai-scdl convert --student_a best_A.pth --student_b best_B.pth \\
    --output bundles/scdl_synapse/models/model.pt
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..atomic import save_atomically
from ..class_names import class_names
from ..errors import InputError
from ..networks.vnet import VNet
from ..networks.weights import WeightsError, differences, read_state

# where a V-Net's state dict tells its number of filters and of classes
FIRST, LAST = "block_one.conv.0.weight", "out_conv.weight"
# batches that a norm has seen in training; older checkpoints lack it, and inference never reads it
COUNTER = ".num_batches_tracked"
WAY_OUT = "give --student_a and --student_b the files of the two V-Nets (<name>_A.pth and <name>_B.pth)"


def convert(student_a: str, student_b: str, output: str, metadata: str | None = None) -> str:
    """Writes the weights of both students as one file that the bundle's configs load.

    Args:
        student_a: state dict of the published V-Net (batch norm), bare or under "state_dict" or "model", with or
            without ``module.`` before its keys.
        student_b: that of the other student.
        output: file to write, the bundle's ``models/model.pt``; complete or not at all.
        metadata: the bundle's metadata.json, for its classes; None: ``configs/metadata.json`` of the bundle that
            ``output`` lies in.

    Returns:
        What has been written.

    Raises:
        WeightsError: when a file is missing, damaged, unsafe, or no V-Net with the bundle's classes.
        InputError: when both files hold the same weights, or the output is a folder.
        StorageError: when the output cannot be written; what was there is intact.
        MissingFileError: when there is no metadata.
    """
    student_a, student_b, target = str(student_a), str(student_b), Path(str(output))
    if target.is_dir():
        raise InputError(f"output is the folder {target}; name a file in it, e.g. {target / 'model.pt'}")
    metadata = str(metadata or target.resolve().parent.parent / "configs" / "metadata.json")
    names = class_names(metadata)
    a, b = read_student(student_a), read_student(student_b)
    for path, state in ((student_a, a), (student_b, b)):
        if len(state[LAST]) != len(names):
            raise WeightsError(
                f"{path} has {len(state[LAST])} classes; {metadata} has {len(names)} ({', '.join(names)}): "
                "write into the bundle of its dataset, or name that one's metadata with --metadata"
            )
    if differences(a, b):
        raise WeightsError(
            f"{student_a} and {student_b} are no pair: {len(a[FIRST])} and {len(b[FIRST])} filters; "
            f"{WAY_OUT} of one training"
        )
    if all(torch.equal(a[name], b[name]) for name in a):
        raise InputError(f"{student_a} and {student_b} hold the same weights; {WAY_OUT}")
    state = {f"students.{index}.{name}": value for index, s in enumerate((a, b)) for name, value in s.items()}
    save_atomically(state, target, "Make room, or name another --output")
    return f"{target}: two students, num_filters {len(a[FIRST])}, {len(names)} classes"


def read_student(path: str) -> dict[str, torch.Tensor]:
    """State dict of :py:class:`VNet` out of a published checkpoint; its sizes are read off the weights.

    Raises:
        WeightsError: when the file is missing, damaged, unsafe, or of another network.
    """
    found = read_state(path, if_missing=WAY_OUT, if_unsafe="download it again, or ask for the state dict alone")
    found = {name.removeprefix("module."): value for name, value in found.items()}
    if any(name not in found or found[name].ndim != 5 for name in (FIRST, LAST)):
        raise WeightsError(
            f"{path} holds no state dict of the published V-Net: expected {FIRST} and {LAST} of five dimensions, "
            f"found {_listed(found)}; {WAY_OUT}"
        )
    with torch.device("meta"):
        expected = VNet(in_channels=1, out_channels=len(found[LAST]), num_filters=len(found[FIRST])).state_dict()
    for name in expected:
        if name.endswith(COUNTER):
            found.setdefault(name, torch.tensor(0))
    found = {name: value for name, value in found.items() if name in expected or not name.endswith(COUNTER)}
    if differs := differences(found, expected):
        raise WeightsError(
            f"{path} is of another network than the published V-Net with batch norm, {len(found[FIRST])} filters and "
            f"{len(found[LAST])} classes: {differs}; {WAY_OUT}"
        )
    # in the network's order and types: a checkpoint may be of half precision
    return {name: found[name].to(value.dtype) for name, value in expected.items()}


def _listed(state: Mapping[str, torch.Tensor], shown: int = 3) -> str:
    lines = [f"{name} {tuple(value.shape)}" for name, value in state.items()]
    more = f" and {len(lines) - shown} more" if len(lines) > shown else ""
    return ", ".join(lines[:shown]) + more if lines else "no tensors"
