# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A first look at segmentations: Dice by organ as a table, and a picture of a case in three planes.

    python -m scdl_components.report.preview --case_list data/phantom/case_list.json --predictions eval --output demo
"""

from __future__ import annotations

import json
from pathlib import Path

import fire
import numpy as np
import torch
from monai.metrics import compute_dice
from monai.networks import one_hot
from monai.transforms import Compose, LoadImage, Orientation

from .pictures import three_planes


def load(path: str | Path) -> torch.Tensor:
    """A volume [1, X, Y, Z] in RAS, with its affine."""
    return Compose([LoadImage(reader="NibabelReader", ensure_channel_first=True), Orientation("RAS", labels=None)])(path)


def dice_by_class(pred: torch.Tensor, label: torch.Tensor, num_classes: int) -> np.ndarray:
    """Dice of each class but the background [num_classes - 1]; NaN where neither of the masks [1, X, Y, Z] has it."""
    masks = [one_hot(mask[None].long(), num_classes) for mask in (pred.as_tensor(), label.as_tensor())]
    dice = compute_dice(*masks, include_background=False, ignore_empty=True)[0].numpy()
    # MONAI calls a class NaN that the reference alone lacks; it is a false positive all the same
    predicted = masks[0][0, 1:].flatten(1).any(dim=1).numpy()
    return np.where(np.isnan(dice) & predicted, 0.0, dice)


def dice_table(dice: dict[str, np.ndarray], class_names: list[str]) -> str:
    """Text table: a row an organ, a column a case, the mean over cases last; - where the case lacks the organ."""

    def cell(value: float) -> str:
        return "-" if np.isnan(value) else f"{value:.3f}"

    columns = np.stack(list(dice.values()), axis=1)
    rows = [(name, *map(cell, row), cell(_mean(row))) for name, row in zip(class_names[1:], columns)]
    rows.append(("mean", *(cell(_mean(column)) for column in columns.T), cell(_mean(columns.ravel()))))
    header = ("organ", *dice, "mean")
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
        FileNotFoundError: when a case has not been segmented.
    """
    root = Path(case_list).parent
    Path(output).mkdir(parents=True, exist_ok=True)
    dice = {}
    for case in json.loads(Path(case_list).read_text())[cases]:
        name = Path(case["image"]).name.removesuffix(".gz").removesuffix(".nii")
        segmentation = Path(predictions) / f"{name}_seg.nii.gz"
        if not segmentation.is_file():
            raise FileNotFoundError(f"{segmentation} is missing: run the inference on {root / case['image']} first")
        class_names = list(json.loads(segmentation.with_name(f"{name}_seg.json").read_text())["labels"].values())
        image, label, pred = (load(path) for path in (root / case["image"], root / case["label"], segmentation))
        dice[name] = dice_by_class(pred, label, len(class_names))
        three_planes(
            image[0].numpy(),
            {"reference": label[0].numpy(), "prediction": pred[0].numpy()},
            image.pixdim.tolist(),
            class_names,
            Path(output) / f"{name}.png",
        )
    table = dice_table(dice, class_names)
    Path(output, "dice.txt").write_text(table + "\n")
    print(f"Dice by organ\n\n{table}\n\npictures: {output}/*.png")


if __name__ == "__main__":
    fire.Fire(preview)
