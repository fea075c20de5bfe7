# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Images to segment: NIfTI files, folders of them, DICOM series folders."""

import os
from collections.abc import Sequence

from ..errors import InputError
from .dicom import is_dicom_file
from .paths import given_path
from .reader import SUFFIXES
from .results import is_result

IMAGE_FOLDERS = ("img", "images", "imagesTs", "imagesTr", "imagesVa")
PATIENTS_IMAGES = ("ct.nii", "ct.nii.gz")
KINDS = " or ".join(SUFFIXES)
MAX_DEPTH = 3  # of patients/studies/series


def list_images(path: str | os.PathLike | Sequence[str | os.PathLike]) -> list[dict[str, str]]:
    """Find the images that ``path`` stands for.

    - A NIfTI file is an image.
    - A folder with such files in it stands for them, sorted by name; files in its sub-folders are not taken, nor are
      segmentations that our inference has written there.
    - A folder with DICOM files in it is one image; whether it is a sound series is not checked here.
    - A folder with neither stands for its sub-folders, down to those of a patient's studies' series: those with DICOM
      files, the NIfTI files of those called ``img``, ``images``, ``imagesTs``, ``imagesTr`` or ``imagesVa`` (never
      those of ``label`` or ``labelsTr``), and of any other ``ct.nii.gz`` (TotalSegmentator's layout, a folder for each
      patient).

    Names that begin with a dot are skipped.

    Args:
        path: a file, a folder, or a list of them.

    Returns:
        One ``{"image": absolute path}`` per image, each image once.

    Raises:
        InputError: something does not exist, holds no image, or holds NIfTI and DICOM side by side. All problems in
            one message.
    """
    paths = list(path) if isinstance(path, (list, tuple)) else [path]
    images, problems = [], []
    for item in paths:
        try:
            images += _images_at(os.path.abspath(given_path(item, "dataset_dir")))
        except InputError as error:
            problems.append(str(error))
    if problems or not paths:
        raise InputError("\n".join(problems) or "no input: expected a file, a folder, or a list of them")
    return [{"image": image} for image in dict.fromkeys(images)]


def visible(folder: str) -> list[str]:
    """List the paths in a folder, sorted, without hidden files."""
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError as error:
        raise InputError(f"'{folder}' cannot be listed: {error.strerror}") from error


def is_nifti(path: str) -> bool:
    """Tell whether a path is a file with the suffix of NIfTI."""
    return path.lower().endswith(SUFFIXES) and os.path.isfile(path)


def _images_at(path: str) -> list[str]:
    if os.path.isdir(path):
        found = _images_in(path) or _images_below(path, MAX_DEPTH)
        if not found:
            raise InputError(
                f"'{path}' holds no image; looked for {KINDS} files and DICOM files in it, and, {MAX_DEPTH} folders deep, "
                f"for DICOM series, ct.nii.gz, and the files of folders called {', '.join(IMAGE_FOLDERS)}"
            )
        return found
    if not os.path.exists(path):
        raise InputError(f"'{path}' does not exist; expected a file or a folder")
    if path.lower().endswith(SUFFIXES):
        return [path]
    if os.path.isfile(path) and is_dicom_file(path):
        raise InputError(f"'{path}' is a single DICOM file; give the folder of its series, '{os.path.dirname(path)}'")
    raise InputError(f"'{path}' is no image this can read; expected {KINDS} files, or a DICOM series folder")


def _images_in(folder: str) -> list[str]:
    """List a folder's NIfTI files, or the folder itself if it holds DICOM files."""
    paths = visible(folder)
    volumes = [path for path in paths if is_nifti(path) and not is_result(path)]
    # a DICOMDIR is the list of the series in the folders beside it
    others = (path for path in paths if path not in volumes and os.path.basename(path).upper() != "DICOMDIR")
    others = (path for path in others if not is_result(path.removesuffix(".dcm") + ".nii.gz"))  # DICOM SEG beside one
    has_dicom = any(os.path.isfile(path) and is_dicom_file(path) for path in others)
    if volumes and has_dicom:
        raise InputError(f"'{folder}' holds {KINDS} files and DICOM files; which of them is the input? Move one away")
    return [folder] if has_dicom else volumes


def _images_below(path: str, depth: int) -> list[str]:
    """List the images of sub-folders, not of those below one with images."""
    found = []
    for folder in filter(os.path.isdir, visible(path)) if depth else ():
        images = _images_in(folder)
        if images != [folder] and os.path.basename(folder) not in IMAGE_FOLDERS:
            images = [image for image in images if os.path.basename(image).lower() in PATIENTS_IMAGES]
        found += images or _images_below(folder, depth - 1)
    return found
