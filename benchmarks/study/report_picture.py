# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A small organ as two methods segment it, beside the reference; case and organ are chosen by a rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.study.report_runs import StudyRun
from benchmarks.study.run import cases_of
from scdl_components.data.results import result_names, segmentation_of
from scdl_components.errors import InputError
from scdl_components.report.cases import read_case_list
from scdl_components.report.pictures import load_volume, three_planes

MARGIN = 30.0  # mm around the reference


def draw_small_organ(a: Sequence[StudyRun], b: Sequence[StudyRun], study: Path, path: Path, organ: str = "") -> str:
    """Writes the picture and returns its caption.

    Args:
        a: runs of the first method.
        b: runs of the second method, with as many labelled cases.
        study: folder of the study, where the phantoms are.
        path: PNG to write.
        organ: its name; without one, the smallest organ.

    Raises:
        InputError: the methods have no seed in common, there is no such organ, or a file cannot be read.
    """
    by_seed = [{run.seed: run for run in runs} for runs in (a, b)]
    common = by_seed[0].keys() & by_seed[1].keys()
    if not common:
        raise InputError(f"'{a[0].method}' and '{b[0].method}' have no finished seed in common; choose other methods")
    first, second = (runs[min(common)] for runs in by_seed)
    organs = [name for name, facts in first.summary["organs"].items() if facts["size_ml"] is not None]
    if organ and organ not in organs:
        raise InputError(f"there is no organ '{organ}'; the references hold {', '.join(organs)}")
    rule = f"{organ}, as asked for" if organ else f"the smallest organ ({organs[-1]})"
    organ = organ or organs[-1]
    case, dice = median_case(first, second, organ)
    scores = f"Dice {dice[0]:.3f} with {first.method}, {dice[1]:.3f} with {second.method}"

    if first.of_phantoms:
        items = read_case_list(str(study / f"phantoms_{first.num_labeled}_labeled" / "case_list.json"), first.cases)
    else:
        items = cases_of(first.overrides, first.cases)
    names = result_names([item["image"] for item in items])
    item = next((item for item in items if names[item["image"]] == case), None)
    if item is None:
        raise InputError(f"the list '{first.cases}' has no case '{case}'; evaluate the runs again")
    files = [segmentation_of(run.folder / "segmentations", case) for run in (first, second)]
    names = ["background", *first.evaluated.table.organs]
    image, label, *segmented = (load_volume(file) for file in (item["image"], item["label"], *files))
    value = names.index(organ)
    # the organ alone: neighbours would hide where it ends
    masks = [(volume.numpy()[0] == value) * np.uint8(value) for volume in (label, *segmented)]
    box = around(masks[0] > 0, [MARGIN / width for width in image.pixdim.tolist()])
    titles = ("reference", first.method, second.method)
    shown = {title: mask[box] for title, mask in zip(titles, masks)}
    three_planes(image.numpy()[0][box], shown, image.pixdim.tolist(), names, path)
    outside = [f"{(mask > 0).sum() - (mask[box] > 0).sum()} of {title}" for title, mask in zip(titles[1:], masks[1:])]
    return (
        f"The {organ} of {case}: {scores}. Chosen by rule: {rule}; of the runs with {first.num_labeled} labelled, the "
        f"lowest seed that both have ({first.seed}); of the cases, the one with the median difference of that organ's "
        f"Dice (the lower of two middle ones). Shown is {MARGIN:g} mm around the reference, in slices where that is "
        f"largest; voxels beyond: {', '.join(outside)}."
    )


def median_case(a: StudyRun, b: StudyRun, organ: str) -> tuple[str, tuple[float, float]]:
    """The case with the median difference of an organ's Dice, the lower of two middle ones, and the Dice of both runs.

    Raises:
        InputError: it is defined in no case.
    """
    table = a.evaluated.table
    column = table.organs.index(organ)
    dice = [run.evaluated.table.values["dice"][:, column] for run in (a, b)]
    # a case without the organ has no size to look for
    has_organ = table.volumes["volume_reference_ml"][:, column] > 0
    candidates = np.flatnonzero(~np.isnan(dice[1] - dice[0]) & has_organ)
    if not len(candidates):
        raise InputError(f"no case has the organ '{organ}'; choose another one")
    order = candidates[np.argsort((dice[1] - dice[0])[candidates], kind="stable")]
    chosen = order[(len(order) - 1) // 2]
    return table.cases[chosen], (float(dice[0][chosen]), float(dice[1][chosen]))


def around(mask: np.ndarray, margins: Sequence[float]) -> tuple[slice, ...]:
    """The box of a mask that is not empty, widened by ``margins`` voxels on each side within the volume."""
    places = np.argwhere(mask)
    low = np.maximum(places.min(axis=0) - np.ceil(margins).astype(int), 0)
    high = places.max(axis=0) + np.ceil(margins).astype(int) + 1
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high))
