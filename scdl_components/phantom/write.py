# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The phantom as a data set on disk: images, labels and a case list, complete or not there at all."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import nibabel as nib
from monai.utils import ensure_tuple

from scdl_components.distributed import on_rank_zero
from scdl_components.phantom.render import phantom_case
from scdl_components.phantom.table import KNOWN_ORGANS, SYNAPSE_ORGANS

__all__ = ["write_phantoms"]

logger = logging.getLogger(__name__)

# raised whenever the same parameters would give other voxels
_VERSION = 1
_CASE_LIST = "case_list.json"


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
    image_name: str = "img/img{id}.nii.gz",
    label_name: str = "label/label{id}.nii.gz",
    num_workers: int = 0,
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
        image_name: path of an image in the data set; ``{id}`` becomes its four-digit number.
        label_name: path of a label in the data set.
        num_workers: processes that draw cases; 0 draws them in this one.

    Returns:
        ``output_dir``.

    Raises:
        ValueError: an argument is out of its range, or an organ is unknown.
        FileExistsError: ``output_dir`` holds something else, or phantoms with other parameters.
    """
    counts = {"labeled": num_labeled, "unlabeled": num_unlabeled, "validation": num_validation, "test": num_test}
    organs = ensure_tuple(organs)
    spacing = tuple(float(mm) for mm in ensure_tuple(spacing))
    _check(counts, seed, organs, spacing, (image_name, label_name))
    parameters = {
        "version": _VERSION,
        "seed": seed,
        **{f"num_{split}": count for split, count in counts.items()},
        "organs": list(organs),
        "spacing": list(spacing),
        "image_name": image_name,
        "label_name": label_name,
    }
    output = Path(output_dir).expanduser().resolve()
    if _is_complete(output, parameters):
        logger.info("phantom: %s is complete, nothing to do", output)
        return str(output_dir)

    jobs, case_list = _plan(parameters, counts)
    unfinished = output.parent / f".{output.name}.unfinished-{uuid.uuid4().hex[:12]}"
    try:
        _write_cases(unfinished, jobs, num_workers)
        (unfinished / _CASE_LIST).write_text(json.dumps(case_list, indent=2) + "\n", encoding="utf-8")
        try:
            unfinished.replace(output)
        except OSError:
            # another process was faster: fine if it made the same, an error that says so if not
            if not _is_complete(output, parameters):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info("phantom: wrote %d cases to %s", len(jobs), output)
    return str(output_dir)


def _check(
    counts: dict[str, int], seed: int, organs: Sequence[str], spacing: Sequence[float], names: Sequence[str]
) -> None:
    for name, value in {**{f"num_{split}": count for split, count in counts.items()}, "seed": seed}.items():
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"write_phantoms: {name} is {value!r}; give a whole number, 0 or more.")
    if not any(counts.values()):
        raise ValueError("write_phantoms: all four numbers of cases are 0; ask for at least one case.")
    unknown = [organ for organ in organs if organ not in KNOWN_ORGANS]
    if unknown or not organs or len(set(organs)) < len(organs):
        fault = f"does not know {unknown}" if unknown else "needs at least one organ, and each only once"
        raise ValueError(
            f"write_phantoms {fault} (organs is {list(organs)}). The organs there are, without the background: "
            f"{', '.join(KNOWN_ORGANS)}."
        )
    if len(spacing) != 3 or not all(0.3 <= mm <= 20 for mm in spacing):
        raise ValueError(f"write_phantoms: spacing is {spacing}; give three voxel sizes (x, y, z) of 0.3 to 20 mm.")
    for name in names:
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if "{id}" not in name or not inside or not name.endswith((".nii", ".nii.gz")):
            raise ValueError(
                f"write_phantoms: '{name}' is no pattern of file names; give a path in the data set that contains "
                "{id} and ends in .nii.gz, such as img/img{id}.nii.gz."
            )
    if names[0] == names[1]:
        raise ValueError(f"write_phantoms: images and labels would both be '{names[0]}'; give them different names.")


def _is_complete(output: Path, parameters: dict) -> bool:
    """Whether the data set is there; raises where something else is in its place."""
    way_out = "Choose another output_dir (in a config: dataset_dir), or delete this folder first."
    if not output.is_dir():
        if output.exists():
            raise FileExistsError(f"write_phantoms: '{output}' is a file, not a folder. {way_out}")
        return False
    if not any(output.iterdir()):
        return False
    found = None
    if (output / _CASE_LIST).is_file():
        try:
            found = json.loads((output / _CASE_LIST).read_text(encoding="utf-8")).get("phantom")
        except (ValueError, AttributeError):
            found = None
    if not isinstance(found, dict):
        raise FileExistsError(
            f"write_phantoms: '{output}' is not empty and holds no {_CASE_LIST} of a phantom; it is left alone. "
            + way_out
        )
    if found == parameters:
        return True
    keys = [key for key in {**parameters, **found} if parameters.get(key) != found.get(key)]
    raise FileExistsError(
        f"write_phantoms: '{output}' holds phantoms with other parameters: "
        + "; ".join(f"{key} is {found.get(key)!r} there, asked for is {parameters.get(key)!r}" for key in keys)
        + f". {way_out}"
    )


def _plan(parameters: dict, counts: dict[str, int]) -> tuple[list[tuple], dict]:
    """The cases to draw, as arguments of ``_write_case`` after its folder, and the case list."""
    case_list: dict = {"name": "abdominal CT phantom", **{split: [] for split in counts}, "phantom": parameters}
    jobs = []
    drawn = [0, 0, 0]
    for split, count in counts.items():
        stream = {"labeled": 0, "unlabeled": 0, "validation": 1, "test": 2}[split]
        for _ in range(count):
            number = f"{len(jobs) + 1:04d}"
            image, label = (parameters[key].replace("{id}", number) for key in ("image_name", "label_name"))
            case_list[split].append({"image": image} if split == "unlabeled" else {"image": image, "label": label})
            case = (stream, drawn[stream])
            jobs.append((image, label, parameters["seed"], case, parameters["organs"], parameters["spacing"]))
            drawn[stream] += 1
    return jobs, case_list


def _write_cases(folder: Path, jobs: list[tuple], num_workers: int) -> None:
    folder.mkdir(parents=True)
    if num_workers < 1:
        for done, job in enumerate(jobs, start=1):
            _write_case(folder, *job)
            logger.info("phantom: case %d of %d", done, len(jobs))
        return
    # spawned, not forked: the caller may hold threads and a GPU
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_write_case, folder, *job) for job in jobs]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            logger.info("phantom: case %d of %d", done, len(jobs))


def _write_case(
    folder: Path,
    image: str,
    label: str,
    seed: int,
    case: tuple[int, int],
    organs: Sequence[str],
    spacing: Sequence[float],
) -> None:
    for name, volume in zip((image, label), phantom_case(seed, case, organs, spacing)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(volume, folder / name)
