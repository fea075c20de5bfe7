# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the cases of the lists hold: a summary to read and a table with a row for each case."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from scdl_components.data.case_list import LISTS
from scdl_components.data.check_rules import CaseFacts, Problem
from scdl_components.data.grid import axes_of


def summary_lines(cases: Sequence[CaseFacts], problems: Sequence[Problem], organs: Sequence[str]) -> list[str]:
    """Images of each list (headers, HU), then organs of each list that has labels: cases and share of the voxels.

    Files with an error are counted but for nothing else: their figures would hide those of the others.
    """
    faulty = {problem.path for problem in problems if problem.is_error}
    by_list = {name: [case for case in cases if case.list_name == name] for name in LISTS}
    images = [["list", "images", "sound", "voxels", "spacing in mm", "axes", "HU (median of minima, of maxima)"]]
    images += [_image_row(name, found, faulty) for name, found in by_list.items() if found]
    labels = {
        name: [case for case in found if _has_label(case) and case.label.path not in faulty]
        for name, found in by_list.items()
    }
    labels = {name: found for name, found in labels.items() if found}
    rows = [["organ: cases, share of voxels", *(f"{name} ({len(found)})" for name, found in labels.items())]]
    for value, organ in enumerate(["background", *organs]):
        rows.append([organ, *(_frequency(found, value) for found in labels.values())])
    return [*_aligned(images), "", *(_aligned(rows) if labels else ["no sound label"])]


def write_table(path: str, cases: Sequence[CaseFacts], problems: Sequence[Problem], organs: Sequence[str]) -> None:
    """Write a CSV with a row for each case: its files, header, HU range, number of problems, voxels of each class.

    What could not be read is left empty.
    """
    about = Counter(problem.path for problem in problems)
    header = ["list", "image", "label", "shape", "spacing_mm", "axes", "minimum_hu", "maximum_hu", "problems"]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "background", *organs])
        for case in cases:
            image, label = case.image, case.label
            files = {image.path, *([label.path] if label else [])}
            facts = ["", "", "", "", ""]
            if not image.failure:
                spacing = " ".join(f"{size:.6g}" for size in image.spacing)
                facts = ["x".join(map(str, image.shape)), spacing, axes_of(image.affine), image.minimum, image.maximum]
            counts = _counts(case, len(organs)) if _has_label(case) else [""] * (len(organs) + 1)
            paths = [case.list_name, image.path, label.path if label else ""]
            writer.writerow([*paths, *facts, sum(about[name] for name in files), *counts])


def _image_row(name: str, cases: Sequence[CaseFacts], faulty: Collection[str]) -> list[str]:
    images = [case.image for case in cases if case.image.path not in faulty]
    row = [name, str(len(cases)), str(len(images))]
    if not images:
        return [*row, "", "", "", ""]
    shapes, spacings = np.array([i.shape for i in images]), np.array([i.spacing for i in images])
    axes = Counter(axes_of(image.affine) for image in images)
    low, high = (np.nanmedian([getattr(i, key) for i in images]) for key in ("minimum", "maximum"))
    ranges = [" x ".join(_range(column) for column in table.T) for table in (shapes, spacings)]
    return [*row, *ranges, " ".join(f"{axis}:{count}" for axis, count in axes.most_common(4)), f"{low:g}, {high:g}"]


def _range(values: np.ndarray) -> str:
    low, high = (f"{value:.4g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}-{high}"


def _has_label(case: CaseFacts) -> bool:
    return case.label is not None and not case.label.failure


def _counts(case: CaseFacts, num_organs: int) -> list[int]:
    """Voxels of each class, background first; values out of the table are in none."""
    found = dict(zip(case.label.values.tolist(), case.label.counts.tolist(), strict=True))
    return [found.get(value, 0) for value in range(num_organs + 1)]


def _frequency(cases: Sequence[CaseFacts], value: int) -> str:
    """``cases that show it, its share of all voxels``."""
    voxels = [case.label.counts[case.label.values == value].sum() for case in cases]
    total = sum(int(case.label.counts.sum()) for case in cases)
    return f"{np.count_nonzero(voxels)}, {sum(voxels) / max(total, 1):.4%}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
