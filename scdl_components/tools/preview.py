# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A first look at segmentations: Dice by organ as a table, and a picture of a case in three planes.

monai-scdl preview --case_list data/phantom/case_list.json --predictions eval --output demo
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..class_names import names_by_value
from ..data.results import find_results, name_of
from ..errors import InputError, MissingFileError
from ..metrics.surface import dice
from ..report.cases import read_case_list, read_sidecar
from ..report.page import markdown_table, number
from ..report.pictures import load_volume, three_planes
from ..report.summary import defined_mean


def dice_table(scores: dict[str, np.ndarray], organs: list[str]) -> str:
    """Text table: a row for each organ, a column for each case, means last; – where the case lacks the organ."""
    values = np.stack(list(scores.values()), axis=1)
    values = np.vstack([values, defined_mean(values, axis=0)])  # of the cases
    # that of the last row is over organs and cases
    means = [*defined_mean(values[:-1], axis=1), *defined_mean(values[:-1].reshape(1, -1), axis=1)]
    rows = [
        [name, *(number(value, 3) for value in (*row, mean))]
        for name, row, mean in zip([*organs, "mean"], values, means)
    ]
    return markdown_table(["organ", *scores, "mean"], rows)


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
    scores, segmentations = {}, find_results(predictions, [item["image"] for item in data])
    for item in data:
        segmentation = segmentations[item["image"]]
        name = name_of(segmentation)
        if not segmentation.is_file():
            raise MissingFileError(f"{segmentation} is missing: run the inference on {item['image']} first")
        class_names = names_by_value(read_sidecar(segmentation).get("labels", {}))
        if not class_names:
            raise InputError(f"{segmentation} has no JSON beside it that names its organs: run the inference again")
        image, label, pred = (load_volume(path) for path in (item["image"], item["label"], segmentation))
        pairs = ((label.numpy() == value, pred.numpy() == value) for value in range(1, len(class_names)))
        scores[name] = np.array([dice(*pair) for pair in pairs])
        picture = three_planes(image, {"reference": label, "prediction": pred}, class_names)
        picture.savefig(Path(output) / f"{name}.png")
    table = dice_table(scores, class_names[1:])
    Path(output, "dice.txt").write_text(table + "\n", encoding="utf-8")
    print(f"Dice by organ\n\n{table}\n\npictures: {output}/*.png")
