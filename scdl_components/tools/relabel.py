# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentations of TotalSegmentator, in a bundle's organ table.

    monai-scdl relabel --segmentation total.nii.gz --output label0001.nii.gz \\
        --metadata bundles/scdl_synapse/configs/metadata.json
"""

import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from ..atomic import check_writable, whole_file
from ..bundle import class_names
from ..data.reader import SUFFIXES, load_nifti
from ..errors import InputError

# TotalSegmentator's name -> organ; what is not here becomes background
ORGANS = {
    "spleen": "spleen",
    "kidney_right": "right kidney",
    "kidney_left": "left kidney",
    "gallbladder": "gallbladder",
    "liver": "liver",
    "stomach": "stomach",
    "pancreas": "pancreas",
    "adrenal_gland_right": "right adrenal gland",
    "adrenal_gland_left": "left adrenal gland",
    "esophagus": "esophagus",
    "duodenum": "duodenum",
    "urinary_bladder": "bladder",
    "prostate": "prostate/uterus",
    "aorta": "aorta",
    "inferior_vena_cava": "inferior vena cava",
    "portal_vein_and_splenic_vein": "portal and splenic veins",
}
# its numbers in the order of these names, version 2, task "total"; other versions and tasks number otherwise
NUMBERS = dict(zip((*range(1, 10), 15, 19, 21, 22, 52, 63, 64), ORGANS, strict=True))
LABEL = re.compile(r"""<Label\b[^>]*?Key=["'](\d+)["'][^>]*>\s*(?:<!\[CDATA\[)?\s*([\w./-]+)""")
WAY_OUT = "Make room or give another --output"


def names_in(header: nib.Nifti1Header) -> dict[int, str]:
    """Read the name of each number that TotalSegmentator writes into a NIfTI header; empty where it has none."""
    texts = (bytes(extension.get_content()).decode(errors="replace") for extension in header.extensions)
    return {int(number): name for text in texts for number, name in LABEL.findall(text)}


def map_labels(segmentation: np.ndarray, organs: Sequence[str], names: Mapping[int, str] = NUMBERS) -> np.ndarray:
    """Give TotalSegmentator's organs other values (uint8): organs[i] gets i + 1, others 0."""
    values = {name: value for value, name in enumerate(organs, start=1)}
    lookup = np.zeros(int(segmentation.max(initial=0)) + 1, np.uint8)
    for number, name in names.items():
        if number < len(lookup):
            lookup[number] = values.get(ORGANS.get(name, ""), 0)
    return lookup[segmentation]


def relabel(segmentation: str, output: str, metadata: str) -> str:
    """Write a segmentation of TotalSegmentator with a bundle's label values; grid and affine stay.

    Its numbers mean what its header says, else what they mean in version 2, task "total".

    Args:
        segmentation: NIfTI file with TotalSegmentator's values.
        output: NIfTI file to write, uint8; complete or not at all.
        metadata: the bundle's metadata.json, whose channel_def is the organ table.

    Raises:
        MissingFileError: when there is no such metadata.
        InputError: the output's name is no NIfTI file's, or the segmentation cannot be read
            or holds values that are not counts, or none of its names is an organ here.
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
    names = names_in(image.header)
    if names and not {ORGANS.get(name) for name in names.values()} & set(organs):
        raise InputError(f"{segmentation} names no organ of {metadata}: {', '.join(names.values())}")
    mapped = map_labels(values.astype(np.int64), organs, names or NUMBERS)
    content = nib.Nifti1Image(mapped, image.affine).to_bytes()
    with whole_file(output, WAY_OUT) as file:
        file.write(gzip.compress(content, mtime=0) if str(output).endswith(".gz") else content)
    return output
