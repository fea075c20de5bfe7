# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the cases of the lists hold: a summary to read and a table with a row for each case."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..data.case_list import LISTS
from ..data.check_rules import CaseFacts, Problem
from ..data.facts import VolumeFacts
from ..data.grid import axes_of


def summary_lines(cases: Sequence[CaseFacts], problems: Sequence[Problem], organs: Sequence[str]) -> list[str]:
    """Images of each list (headers, HU), then organs of each list that has labels: cases and share of the voxels.

    Files with an error are counted but for nothing else: their figures would hide those of the others.
    """
    faulty = {problem.path for problem in problems if problem.is_error}
    images = [["list", "images", "sound", "voxels", "spacing in mm", "axes", "HU (median of minima, of maxima)"]]
    columns = [["organ: cases, share of voxels", "background", *organs]]
    for name in LISTS:
        volumes = [case.image for case in cases if case.list_name == name]
        sound = [image for image in volumes if image.path not in faulty]
        if volumes:
            images.append([name, str(len(volumes)), str(len(sound)), *(_headers(sound) if sound else [""] * 4)])
        labels = [case.label for case in cases if case.list_name == name and case.label]
        labels = [label for label in labels if label.path not in faulty]
        if labels:
            columns.append(
                [f"{name} ({len(labels)})", *(_frequency(labels, value) for value in range(len(organs) + 1))]
            )
    return [*_aligned(images), "", *(_aligned(list(zip(*columns))) if len(columns) > 1 else ["no sound label"])]


def write_table(path: str, cases: Sequence[CaseFacts], problems: Sequence[Problem], organs: Sequence[str]) -> None:
    """Write a CSV with a row for each case: its files, header, HU range, number of problems, voxels of each class.

    What could not be read is left empty.
    """
    about = Counter(problem.path for problem in problems)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    header = ["list", "image", "label", "shape", "spacing_mm", "axes", "minimum_hu", "maximum_hu", "problems"]
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [*header, "background", *organs])
        writer.writeheader()
        for case in cases:
            image, label = case.image, case.label
            files = {image.path, *([label.path] if label else [])}
            row = {"list": case.list_name, "image": image.path, "problems": sum(about[name] for name in files)}
            if not image.failure:
                row |= {"shape": "x".join(map(str, image.shape)), "axes": axes_of(image.affine)}
                row |= {"spacing_mm": " ".join(f"{size:.6g}" for size in image.spacing)}
                row |= {"minimum_hu": image.minimum, "maximum_hu": image.maximum}
            if label:
                row |= {"label": label.path}
            if label and not label.failure:
                row |= {"background": label.counts[label.values == 0].sum(), **case.organ_voxels(organs)}
            writer.writerow(row)


def _headers(images: Sequence[VolumeFacts]) -> list[str]:
    shapes, spacings = np.array([i.shape for i in images]), np.array([i.spacing for i in images])
    axes = Counter(axes_of(image.affine) for image in images)
    low, high = np.nanmedian([(i.minimum, i.maximum) for i in images], axis=0)
    ranges = [" x ".join(_range(column) for column in table.T) for table in (shapes, spacings)]
    return [*ranges, " ".join(f"{axis}:{count}" for axis, count in axes.most_common(4)), f"{low:g}, {high:g}"]


def _range(values: np.ndarray) -> str:
    low, high = (f"{value:.4g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}-{high}"


def _frequency(labels: Sequence[VolumeFacts], value: int) -> str:
    """``cases that show it, its share of all voxels``."""
    voxels = [label.counts[label.values == value].sum() for label in labels]
    return f"{np.count_nonzero(voxels)}, {sum(voxels) / max(sum(label.counts.sum() for label in labels), 1):.4%}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
