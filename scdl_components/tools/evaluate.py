# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of segmentations that exist, as a command."""

from pathlib import Path

from ..bundle import class_names, names_by_value
from ..data.results import find_results, read_sidecar
from ..errors import InputError
from ..metrics import Protocol
from ..report.cases import read_case_list
from ..report.document import organ_table
from ..report.evaluate import Evaluation
from ..report.page import markdown_table


def evaluate(
    predictions: str,
    case_list: str,
    output: str,
    cases: str = "test",
    protocol: str = "clinical",
    nsd_tolerance: float = 2.0,
    num_tail: int = 5,
    metadata: str = "",
) -> None:
    """Evaluate a folder of segmentations and write the report.

    Args:
        predictions: folder with ``<name>_seg.nii.gz`` for each image ``<name>.nii.gz``.
        case_list: JSON with the cases' images and labels, paths relative to its folder.
        output: folder of the report.
        cases: list of the JSON.
        protocol: clinical or paper.
        nsd_tolerance: in mm (clinical) or voxels (paper).
        num_tail: how many of the smallest organs are the tail.
        metadata: a bundle's metadata.json for the organs' names; without it they are those of the segmentations' JSON.
    """
    data = read_case_list(case_list, cases)
    first = next(iter(find_results(predictions, [item["image"] for item in data]).values()))
    names = class_names(metadata) if metadata else names_by_value(read_sidecar(first).get("labels", {}))
    if not names:
        raise InputError(f"'{first}' has no JSON beside it that names its organs; give --metadata of the bundle")
    summary = Evaluation(data, predictions, names, output, Protocol(protocol, nsd_tolerance), num_tail).run()
    print(markdown_table(*organ_table(summary)))
    print(f"\nreport: {Path(output, 'report.html')}")
