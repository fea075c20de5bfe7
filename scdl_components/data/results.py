# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Names and places of images' segmentations, the same for who writes and who reads."""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

SUFFIX = "_seg.nii.gz"


def result_names(images: Sequence[str]) -> dict[str, str]:
    """Name the results of images after their files, with folders in front where needed.

    ``s1/ct.nii.gz`` alone is called ``ct``, beside ``s2/ct.nii.gz`` it is called ``s1_ct``.

    Args:
        images: paths of files or of DICOM folders, each once.

    Returns:
        Name by image, in the same order.

    Raises:
        InputError: folders do not tell two images apart, as ``a.nii`` and ``a.nii.gz`` in one folder.
    """
    depths = dict.fromkeys(images, 0)
    while True:
        names = {image: _name(image, depth) for image, depth in depths.items()}
        counts = Counter(names.values())
        alike = [image for image, name in names.items() if counts[name] > 1]
        if not alike:
            return names
        if all(depths[image] > len(Path(image).parts) for image in alike):
            raise InputError(
                f"{' and '.join(map(repr, alike))} have one name, so their results would overwrite each other; rename "
                "them or run them one by one"
            )
        for image in alike:
            depths[image] += 1


def find_results(folder: str | Path, images: Sequence[str]) -> dict[str, Path]:
    """Find the paths of the images' segmentations, written or not.

    A segmentation belongs to the image that its JSON names; without that, to the one of its name.

    Args:
        folder: that segmentations are written to.
        images: as in :func:`result_names`, like the error.
    """
    made = {str(read_sidecar(path).get("image")): path for path in sorted(Path(folder).glob(f"*{SUFFIX}"))}
    return {image: made.get(image) or Path(folder, name + SUFFIX) for image, name in result_names(images).items()}


def name_of(segmentation: Path) -> str:
    """Read the case's name off a file of :func:`find_results`."""
    return segmentation.name.removesuffix(SUFFIX)


def sidecar_of(segmentation: Path) -> Path:
    """Name the JSON of a segmentation: its image, organs and what it was made with."""
    return segmentation.with_name(segmentation.name.removesuffix(".nii.gz") + ".json")


def dicom_seg_of(segmentation: Path) -> Path:
    """Name the DICOM SEG of a segmentation."""
    return segmentation.with_name(segmentation.name.removesuffix(".nii.gz") + ".dcm")


def read_sidecar(segmentation: Path) -> dict:
    """Read a segmentation's JSON; empty where there is none, or none as inference writes it."""
    try:
        content = json.loads(sidecar_of(segmentation).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    sound = isinstance(content, dict) and all(isinstance(content.get(key, {}), dict) for key in ("labels", "made_with"))
    return content if sound else {}


def is_result(path: str) -> bool:
    """Tell whether a file is a segmentation of ours, as its JSON says."""
    return path.endswith(SUFFIX) and read_sidecar(Path(path)).get("segmentation") == os.path.basename(path)


def _name(image: str, depth: int) -> str:
    path = Path(image)
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)  # a DICOM folder's name may have dots, too
    return "_".join([*path.relative_to(path.anchor).parts[-1 - depth : -1], stem])
