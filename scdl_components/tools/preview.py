# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A first look at segmentations: Dice by organ as a table, and a picture of a case in three planes.

    monai-scdl preview --case_list data/phantom/case_list.json --predictions eval --output demo
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..class_names import names_by_value
from ..data.results import result_names, segmentation_of
from ..errors import InputError, MissingFileError
from ..metrics.surface import dice
from ..report.cases import read_case_list, read_sidecar
from ..report.pictures import load_volume, three_planes


def dice_table(scores: dict[str, np.ndarray], class_names: list[str]) -> str:
    """Text table: a row an organ, a column a case, the mean over cases last; - where the case lacks the organ."""

    def cell(value: float) -> str:
        return "-" if np.isnan(value) else f"{value:.3f}"

    columns = np.stack(list(scores.values()), axis=1)
    rows = [(name, *map(cell, row), cell(_mean(row))) for name, row in zip(class_names[1:], columns)]
    rows.append(("mean", *(cell(_mean(column)) for column in columns.T), cell(_mean(columns.ravel()))))
    header = ("organ", *scores, "mean")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)) for row in [header, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def preview(case_list: str, predictions: str, output: str, cases: str = "test") -> None:
    """Compares segmentations with references; prints the table, writes ``dice.txt`` and ``<case>.png``.

    Args:
        case_list: JSON with the cases' images and labels, paths relative to its folder.
        predictions: folder with ``<case>_seg.nii.gz`` and ``<case>_seg.json``, as the inference writes them.
        output: folder for table and pictures.
        cases: list of the JSON.

    Raises:
        MissingFileError: a case has not been segmented.
        InputError: the list is no such JSON, or nothing names a segmentation's organs.
    """
    data = read_case_list(case_list, cases)
    Path(output).mkdir(parents=True, exist_ok=True)
    scores, names = {}, result_names([item["image"] for item in data])
    for item in data:
        name = names[item["image"]]
        segmentation = segmentation_of(predictions, name)
        if not segmentation.is_file():
            raise MissingFileError(f"{segmentation} is missing: run the inference on {item['image']} first")
        class_names = names_by_value(read_sidecar(segmentation).get("labels", {}))
        if not class_names:
            raise InputError(f"{segmentation} has no JSON beside it that names its organs: run the inference again")
        image, label, pred = (load_volume(path) for path in (item["image"], item["label"], segmentation))
        masks = {"reference": label[0].numpy(), "prediction": pred[0].numpy()}
        pairs = ([mask == value for mask in masks.values()] for value in range(1, len(class_names)))
        scores[name] = np.array([dice(*pair) for pair in pairs])
        three_planes(image[0].numpy(), masks, image.pixdim.tolist(), class_names, Path(output) / f"{name}.png")
    table = dice_table(scores, class_names)
    Path(output, "dice.txt").write_text(table + "\n")
    print(f"Dice by organ\n\n{table}\n\npictures: {output}/*.png")
