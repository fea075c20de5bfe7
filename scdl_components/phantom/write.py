# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Writes phantoms as a data set: images, labels and a case list, all or none."""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
from monai.utils import ensure_tuple

from ..distributed import on_rank_zero
from ..errors import InputError
from .render import phantom_case
from .table import KNOWN_ORGANS, SYNAPSE_ORGANS

logger = logging.getLogger(__name__)

VERSION = 1  # raised whenever the same parameters would give other voxels
CASE_LIST = "case_list.json"
STREAMS = {"labeled": 0, "unlabeled": 0, "validation": 1, "test": 2}  # of random numbers


@on_rank_zero
def write_phantoms(
    output_dir: str | os.PathLike,
    num_labeled: int,
    num_unlabeled: int,
    num_validation: int,
    num_test: int,
    seed: int = 0,
    organs: Sequence[str] = SYNAPSE_ORGANS,
    spacing: Sequence[float] = (4.0, 4.0, 5.0),
    variation: float = 1.0,
) -> str:
    """Write abdominal CT phantoms in the BTCV layout, with a case list ``case_list.json``.

    The data set is written beside ``output_dir`` and renamed when it is complete. Where it is already there with the
    same parameters, nothing is done. Training, validation and test cases are three streams of random numbers: the
    n-th case of each is the same however many cases there are, and taking more of the training cases as labeled
    changes none of them. Files are numbered through: labeled, unlabeled, validation, test.

    Args:
        output_dir: folder of the data set; its parent is made where needed.
        num_labeled: training cases listed with their label.
        num_unlabeled: training cases listed without it (the label is written all the same, to look into afterwards).
        num_validation: validation cases.
        num_test: test cases.
        seed: of all random numbers, not negative.
        organs: organ names in the order of their label values, from 1; what is not named is drawn but not labeled.
        spacing: nominal voxel size (x, y, z) in mm; each case has its own around it.
        variation: factor of what patients and scanners differ by, 1 to 4; with 1 two labels teach nearly all there is.

    Returns:
        ``output_dir``.

    Raises:
        InputError: an argument is out of its range, or an organ is unknown.
        InputError: ``output_dir`` holds something else, or phantoms with other parameters.
    """
    counts = dict(zip(STREAMS, (num_labeled, num_unlabeled, num_validation, num_test), strict=True))
    organs, spacing = list(ensure_tuple(organs)), [float(mm) for mm in ensure_tuple(spacing)]
    numbers = {f"num_{split}": count for split, count in counts.items()}
    parameters = {"version": VERSION, "seed": seed, **numbers, "organs": organs, "spacing": spacing}
    if variation != 1:
        parameters["variation"] = variation
    _check({**numbers, "seed": seed}, organs, spacing, variation)
    output = Path(output_dir).expanduser().resolve()
    if _is_complete(output, parameters):
        logger.info("phantom: %s is complete, nothing to do", output)
        return str(output_dir)

    unfinished = output.parent / f".{output.name}.unfinished-{uuid.uuid4().hex[:12]}"
    try:
        lists = _write_cases(unfinished, counts, seed, organs, spacing, variation)
        content = {"name": "abdominal CT phantom", **lists, "phantom": parameters}
        (unfinished / CASE_LIST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        try:
            unfinished.replace(output)
        except OSError:
            # another process was faster: an error unless it made the same
            if not _is_complete(output, parameters):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info("phantom: wrote %d cases to %s", sum(counts.values()), output)
    return str(output_dir)


def _check(numbers: dict[str, int], organs: list[str], spacing: list[float], variation: float) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int) or value < 0:
            raise InputError(f"write_phantoms: {name} is {value!r}; give a whole number, 0 or more.")
    if not any(value for name, value in numbers.items() if name != "seed"):
        raise InputError("write_phantoms: all four numbers of cases are 0; ask for at least one case.")
    if not organs or len(set(organs)) < len(organs) or not set(organs) <= set(KNOWN_ORGANS):
        raise InputError(
            f"write_phantoms: organs is {organs}; give at least one, each only once, of {', '.join(KNOWN_ORGANS)}."
        )
    if len(spacing) != 3 or not all(0.3 <= mm <= 20 for mm in spacing):
        raise InputError(f"write_phantoms: spacing is {spacing}; give three voxel sizes (x, y, z) of 0.3 to 20 mm.")
    if not 1 <= variation <= 4:
        raise InputError(f"write_phantoms: variation is {variation!r}; give a number from 1 to 4.")


def _is_complete(output: Path, parameters: dict) -> bool:
    """Tell whether the data set is there; raise where something else is in its place."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        found = json.loads((output / CASE_LIST).read_text(encoding="utf-8"))["phantom"]
    except (OSError, ValueError, TypeError, KeyError):
        found = "something else"
    if found == parameters:
        return True
    raise InputError(
        f"write_phantoms: '{output}' is left alone, for it holds {found}, and {parameters} are asked for. Choose another "
        "output_dir (in a config: dataset_dir), or delete it first."
    )


def _write_cases(
    folder: Path, counts: dict[str, int], seed: int, organs: list[str], spacing: list[float], variation: float
) -> dict[str, list[dict[str, str]]]:
    """Write the files of all cases; list -> its items."""
    lists: dict[str, list[dict[str, str]]] = {split: [] for split in counts}
    drawn = dict.fromkeys(STREAMS.values(), 0)
    for split in (split for split, count in counts.items() for _ in range(count)):
        stream, number = STREAMS[split], sum(drawn.values()) + 1
        item = {"image": f"img/img{number:04d}.nii.gz", "label": f"label/label{number:04d}.nii.gz"}
        case = phantom_case(seed, (stream, drawn[stream]), organs, spacing, variation)
        for name, volume in zip(item.values(), case):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            nib.save(volume, folder / name)
        lists[split].append({"image": item["image"]} if split == "unlabeled" else item)
        drawn[stream] += 1
        logger.info("phantom: case %d of %d", number, sum(counts.values()))
    return lists
