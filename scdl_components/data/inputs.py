# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What inference is given, as a list of images: NIfTI files, folders of them, DICOM series folders."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from monai.utils import optional_import

from scdl_components.data.paths import given_path
from scdl_components.data.results import is_result
from scdl_components.errors import InputError

pydicom, has_pydicom = optional_import("pydicom")

SUFFIXES = (".nii", ".nii.gz")
IMAGE_FOLDERS = ("img", "images", "imagesTs", "imagesTr", "imagesVa")
PATIENTS_IMAGES = ("ct.nii", "ct.nii.gz")
# a slice further than this from its place on an even grid, in slice distances, is misplaced: an affine cannot hold it
SLICE_TOLERANCE = 0.25
MAX_VOXELS = 2**30  # 4 GiB once MONAI has loaded them


def list_images(
    path: str | os.PathLike | Sequence[str | os.PathLike], suffixes: Sequence[str] = SUFFIXES
) -> list[dict[str, str]]:
    """Find the images that ``path`` stands for.

    - A file with one of ``suffixes`` is an image.
    - A folder with such files in it stands for them, sorted by name; files in its sub-folders are not taken, nor are
      segmentations that our inference has written there.
    - A folder with DICOM files in it is one image, which MONAI's ``PydicomReader`` reads from the folder.
    - A folder with neither stands for its direct sub-folders: those with DICOM files, the NIfTI files of those
      called ``img``, ``images``, ``imagesTs``, ``imagesTr`` or ``imagesVa`` (never those of ``label`` or ``labelsTr``),
      and of any other ``ct.nii.gz`` (TotalSegmentator's layout, a folder for each patient).

    Names that begin with a dot are skipped.

    Args:
        path: a file, a folder, or a list of them.
        suffixes: what names of image files end in, in lower case.

    Returns:
        One ``{"image": absolute path}`` per image, each image once.

    Raises:
        InputError: something does not exist, holds no image, holds NIfTI and DICOM side by side, is a DICOM folder
            that is not one complete series. All problems in one message.
    """
    paths = list(path) if isinstance(path, (list, tuple)) else [path]
    images, problems = [], []
    for item in paths:
        try:
            images += _images_at(os.path.abspath(given_path(item, "dataset_dir")), tuple(suffixes))
        except InputError as error:
            problems.append(str(error))
    if not paths:
        problems.append("no input: expected a file, a folder, or a list of them")
    images = list(dict.fromkeys(images))
    problems += [problem for image in images if os.path.isdir(image) for problem in series_problems(image)]
    if problems:
        raise InputError("\n".join(problems))
    return [{"image": image} for image in images]


def is_dicom_file(path: str) -> bool:
    """Whether a file starts as DICOM part 10 files do; others are skipped by MONAI's reader as well."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def series_problems(folder: str, max_voxels: int = MAX_VOXELS) -> list[str]:
    """What keeps a folder of DICOM files from being one volume.

    MONAI's ``PydicomReader`` stacks every DICOM file of a folder in the order of its instance numbers, whatever series
    it belongs to, and derives the affine from the first and the last slice. So the files must be of one series, and the
    slices of one size, orientation and distance.

    Args:
        folder: of the series.
        max_voxels: a series whose headers announce more is refused before its pixels are read.

    Returns:
        One message for each problem, naming the folder; empty for a sound series.
    """
    if not has_pydicom:
        return [f"'{folder}' holds a DICOM series, which needs pydicom: pip install pydicom"]
    files = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    if sorted(glob.glob(os.path.join(folder, "*"))) != files:
        return [f"'{folder}': MONAI's DICOM reader takes [ ] * ? in a folder's name as wildcards; rename the folder"]
    slices, problems = {}, []
    for file in files:
        if os.path.isfile(file) and is_dicom_file(file):
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            except Exception as error:  # pydicom raises many kinds on damaged files
                problems.append(f"'{file}' cannot be read as DICOM ({error}); copy it again from its source")
                continue
            if "SeriesInstanceUID" in header:  # DICOMDIR has none, and the reader passes over it
                slices[file] = header
    try:
        return problems or (
            _identity_problems(folder, slices)
            or _size_problems(folder, slices, max_voxels)
            or _geometry_problems(folder, slices)
        )
    except Exception as error:  # tags are decoded when they are looked at, and pydicom raises many kinds
        return [f"'{folder}' holds DICOM files with damaged headers ({error}); copy it again from its source"]


def _identity_problems(folder: str, slices: dict) -> list[str]:
    series = Counter(str(header.SeriesInstanceUID) for header in slices.values())
    if len(series) <= 1:
        return []
    counts = ", ".join(f"{uid} ({count} files)" for uid, count in series.items())
    return [f"'{folder}' holds {len(series)} DICOM series: {counts}; give each its own folder"]


def _size_problems(folder: str, slices: dict, max_voxels: int) -> list[str]:
    announced = sum(int(header.get("Rows") or 0) * int(header.get("Columns") or 0) for header in slices.values())
    if announced <= max_voxels:
        return []
    return [f"'{folder}': its headers announce {announced} voxels, at most {max_voxels} are read; export it again"]


def _geometry_problems(folder: str, slices: dict) -> list[str]:
    tags = ("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    for file, header in slices.items():
        missing = [tag for tag in tags if header.get(tag) in (None, "")]
        if missing:
            return [f"'{file}' has no {', '.join(missing)}; a series of single slices (no multi-frame file) is needed"]
    if len(slices) < 2:
        return [f"'{folder}' holds {len(slices)} DICOM slice(s); a volume needs at least 2"]
    headers = sorted(slices.values(), key=lambda header: int(header.InstanceNumber))
    grids = [[h.Rows, h.Columns, *map(float, h.PixelSpacing), *map(float, h.ImageOrientationPatient)] for h in headers]
    if not np.allclose(grids, grids[0], rtol=0, atol=1e-3):
        odd = next(i for i, grid in enumerate(grids) if not np.allclose(grid, grids[0], rtol=0, atol=1e-3))
        return [
            f"'{folder}': instances {headers[0].InstanceNumber} and {headers[odd].InstanceNumber} differ in size, "
            "pixel spacing or orientation; move scouts and reformatted slices out of the folder"
        ]
    # the reader decodes this tag strictly, and takes the identity where that fails; other tags it reads leniently
    first = pydicom.dcmread(headers[0].filename, stop_before_pixels=True, specific_tags=["ImageOrientationPatient"])
    if "00200037" not in first.to_json_dict(suppress_invalid_tags=True):
        return [
            f"'{folder}': MONAI's DICOM reader would ignore ImageOrientationPatient, whose numbers are longer than "
            "DICOM allows (16 characters); convert the series with dcm2niix"
        ]
    row, column = np.array(grids[0][4:7]), np.array(grids[0][7:10])
    positions = np.array([h.ImagePositionPatient for h in headers], dtype=float) @ np.cross(row, column)
    even = np.linspace(positions[0], positions[-1], len(positions))
    step = abs(positions[-1] - positions[0]) / (len(positions) - 1)
    off = np.abs(positions - even) > SLICE_TOLERANCE * step
    if step == 0 or off.any():
        where = headers[int(np.argmax(off))].InstanceNumber
        return [
            f"'{folder}': its {len(headers)} slices are not evenly spaced in the order of their instance numbers ("
            f"first misplaced: instance {where}); slices are missing, stand twice or are of several acquisitions"
        ]
    return []


def _visible(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError as error:
        raise InputError(f"'{folder}' cannot be listed: {error.strerror}") from error


def _images_in(folder: str, suffixes: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The folder's NIfTI files, and the folder itself if it holds DICOM files."""
    files = [path for path in _visible(folder) if os.path.isfile(path)]
    volumes = [path for path in files if path.lower().endswith(suffixes) and not is_result(path)]
    has_dicom = any(is_dicom_file(path) for path in files if path not in volumes)
    if volumes and has_dicom:
        raise InputError(
            f"'{folder}' holds {' or '.join(suffixes)} files and DICOM files; which of them is the input? Move one away"
        )
    return volumes, [folder] if has_dicom else []


def _images_at(path: str, suffixes: tuple[str, ...]) -> list[str]:
    if not os.path.exists(path):
        raise InputError(f"'{path}' does not exist; expected a file or a folder")
    if os.path.isfile(path):
        if path.lower().endswith(suffixes):
            return [path]
        if is_dicom_file(path):
            raise InputError(
                f"'{path}' is a single DICOM file; give the folder of its series, '{os.path.dirname(path)}'"
            )
        raise InputError(
            f"'{path}' is no image this can read; expected {' or '.join(suffixes)}, or a DICOM series folder"
        )
    volumes, dicom = _images_in(path, suffixes)
    if volumes or dicom:
        return volumes or dicom
    found = []
    for folder in filter(os.path.isdir, _visible(path)):
        volumes, dicom = _images_in(folder, suffixes)
        of_patient = [path for path in volumes if os.path.basename(path).lower() in PATIENTS_IMAGES]
        found += dicom or (volumes if os.path.basename(folder) in IMAGE_FOLDERS else of_patient)
    if not found:
        raise InputError(
            f"'{path}' holds no image; looked for {' and '.join(suffixes)} files and DICOM files in it, in its "
            f"sub-folders {', '.join(IMAGE_FOLDERS)}, and for DICOM series and ct.nii.gz in all its sub-folders"
        )
    return found
