# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentations of TotalSegmentator, in a bundle's organ table.

    monai-scdl relabel --segmentation total.nii.gz --output label0001.nii.gz \\
        --metadata bundles/scdl_synapse/configs/metadata.json
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from ..atomic import check_writable, whole_file
from ..bundle import class_names
from ..data.reader import SUFFIXES, load_nifti
from ..errors import InputError

# TotalSegmentator v2, task "total": its number -> organ; what is not here becomes background
TOTALSEGMENTATOR = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "liver",
    6: "stomach",
    7: "pancreas",
    8: "right adrenal gland",
    9: "left adrenal gland",
    15: "esophagus",
    19: "duodenum",
    21: "bladder",
    22: "prostate/uterus",
    52: "aorta",
    63: "inferior vena cava",
    64: "portal and splenic veins",
}
WAY_OUT = "Make room or give another --output"


def map_labels(segmentation: np.ndarray, organs: Sequence[str]) -> np.ndarray:
    """Give TotalSegmentator's organs other values (uint8): organs[i] gets i + 1, others 0."""
    values = {name: value for value, name in enumerate(organs, start=1)}
    lookup = np.zeros(int(segmentation.max(initial=0)) + 1, np.uint8)
    for number, name in TOTALSEGMENTATOR.items():
        if number < len(lookup):
            lookup[number] = values.get(name, 0)
    return lookup[segmentation]


def relabel(segmentation: str, output: str, metadata: str) -> str:
    """Write a segmentation of TotalSegmentator with a bundle's label values; grid and affine stay.

    Args:
        segmentation: NIfTI file with TotalSegmentator's values.
        output: NIfTI file to write, uint8; complete or not at all.
        metadata: the bundle's metadata.json, whose channel_def is the organ table.

    Raises:
        MissingFileError: when there is no such metadata.
        InputError: the output's name is no NIfTI file's, or the segmentation cannot be read
            or holds values that are not counts.
        StorageError: when the output cannot be written.
    """
    if not str(output).endswith(SUFFIXES):
        raise InputError(f"output is {output!r}; its name must end in {' or '.join(SUFFIXES)}")
    organs = class_names(metadata)[1:]
    check_writable([Path(output).parent], WAY_OUT)
    image = load_nifti(segmentation)
    values = np.asanyarray(image.dataobj)
    if not (values == values.astype(np.int64)).all() or values.min() < 0:
        raise InputError(f"{segmentation} is no segmentation: its values are not whole numbers from 0")
    mapped = map_labels(values.astype(np.int64), organs)
    content = nib.Nifti1Image(mapped, image.affine).to_bytes()
    with whole_file(output, WAY_OUT) as file:
        file.write(gzip.compress(content, mtime=0) if str(output).endswith(".gz") else content)
    return output
