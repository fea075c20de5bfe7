# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series as volumes, their slices ordered by position."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pydicom
from monai.data import PydicomReader
from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage
from pydicom.valuerep import format_number_as_ds

from ..errors import UnreadableError

# 4 GiB once MONAI has loaded them; a volume whose headers announce more is refused before its voxels are read
MAX_VOXELS = 2**30
# of the slice distance; a slice further off its place on an even grid fits no affine
SLICE_TOLERANCE = 0.25
SAME_PLACE = 0.01  # mm
PLANE = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
NEEDED = (*PLANE, "ImagePositionPatient")
MORE_THAN_A_SLICE = ("NumberOfFrames", "SamplesPerPixel")
NO_SLICES = (MediaStorageDirectoryStorage, SegmentationStorage)  # a DICOMDIR, a segmentation of the series
TAGS = ("SeriesInstanceUID", "Modality", *NEEDED, *MORE_THAN_A_SLICE)


def is_dicom_file(path: str) -> bool:
    """Tell whether a file begins as DICOM files do, with or without a preamble."""
    with open(path, "rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00")


def series_modality(folder: str) -> str:
    """Read a DICOM folder's modality, such as ``CT``; empty without headers."""
    try:
        return next((str(header.get("Modality") or "") for _, header in _headers(folder)), "")
    except (UnreadableError, OSError):
        return ""


def read_series(folder: str) -> tuple[np.ndarray, dict]:
    """Read a DICOM series folder with MONAI's ``PydicomReader``, in the order of :func:`slices_in_order`.

    Args:
        folder: of the series; other files in it are passed over.

    Returns:
        Voxels [columns, rows, slices], rescaled (HU), and MONAI's meta data with the affine (RAS, mm).

    Raises:
        UnreadableError: the folder is not one complete series.
    """
    files = slices_in_order(folder)
    try:
        reader = PydicomReader()
        slices = reader.read(files)
        for number, header in enumerate(slices):
            header.InstanceNumber = number  # MONAI orders by it
            for tag in ("ImagePositionPatient", "ImageOrientationPatient"):
                # longer numbers than the standard's 16 characters are frequent, and MONAI would drop the whole tag
                setattr(header, tag, [format_number_as_ds(float(value)) for value in header[tag].value])
        reader.has_series, reader.filenames = True, [files]
        voxels, meta = reader.get_data(slices)
    except Exception as error:  # pydicom and its decoders raise many kinds on damaged files
        raise UnreadableError(f"is a DICOM series that MONAI cannot load ({error}); export it again") from error
    return voxels, meta


def slices_in_order(folder: str) -> list[str]:
    """Order the files of a DICOM series by the slices' positions along their normal.

    Instance numbers and file names do not matter. A sheared series (a tilted gantry) is a volume with a sheared affine.

    Returns:
        The files; the first lies lowest along row direction × column direction.

    Raises:
        UnreadableError: they are of several series, differ in size, spacing or orientation, are multi-frame, or are not
            evenly spaced on one line. The message says why and the way out, not the folder's name.
    """
    headers = dict(_headers(folder))
    _check_one_series(list(headers.values()))
    try:
        announced = sum(int(header.get("Rows") or 0) * int(header.get("Columns") or 0) for header in headers.values())
        if announced > MAX_VOXELS:
            raise UnreadableError(
                f"its headers announce {announced} voxels, at most {MAX_VOXELS} are read; export it again"
            )
        normal = _check_planes(headers)
        positions = {file: np.array(header.ImagePositionPatient, dtype=float) for file, header in headers.items()}
        order = sorted(headers, key=lambda file: positions[file] @ normal)
        _check_spacing(order, np.array([positions[file] for file in order]), normal)
    except UnreadableError:
        raise
    except Exception as error:  # tags are decoded when they are looked at, and pydicom raises many kinds
        raise UnreadableError(
            f"holds DICOM files with damaged headers ({error}); copy it again from its source"
        ) from error
    return order


def _headers(folder: str) -> Iterator[tuple[str, pydicom.Dataset]]:
    """Read the header of each DICOM file of a folder; yields path and header."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        named = entry.name.lower().endswith(".dcm")  # even empty or overwritten: a slice is missing then
        if entry.name.startswith(".") or not entry.is_file() or not (named or is_dicom_file(entry.path)):
            continue
        try:
            header = pydicom.dcmread(entry.path, stop_before_pixels=True, specific_tags=list(TAGS))
        except Exception as error:  # pydicom raises many kinds on damaged files
            raise UnreadableError(
                f"'{entry.name}' cannot be read as DICOM ({error}); copy it again from its source, or convert it "
                "(dcmconv of DCMTK)"
            ) from error
        if header.file_meta.get("MediaStorageSOPClassUID") in NO_SLICES:
            continue
        if "SeriesInstanceUID" not in header:
            raise UnreadableError(f"'{entry.name}' has no SeriesInstanceUID; copy it again from its source")
        yield entry.path, header


def _check_one_series(headers: Sequence[pydicom.Dataset]) -> None:
    series = Counter((str(header.SeriesInstanceUID), str(header.get("Modality"))) for header in headers)
    if len(series) > 1:
        counts = ", ".join(f"{uid} ({modality}, {count} files)" for (uid, modality), count in series.items())
        raise UnreadableError(f"holds {len(series)} DICOM series: {counts}; give each its own folder")
    if len(headers) < 2:
        raise UnreadableError(f"holds {len(headers)} DICOM slice(s); a volume needs at least 2, each in a file")


def _check_planes(headers: dict[str, pydicom.Dataset]) -> np.ndarray:
    """Compute the normal of the slices, if all have the same grid."""
    planes = {}
    for file, header in headers.items():
        name = os.path.basename(file)
        missing = [tag for tag in NEEDED if header.get(tag) in (None, "")]
        if missing:
            raise UnreadableError(f"'{name}' has no {', '.join(missing)}; a series of single slices is needed")
        if any(int(header.get(tag) or 1) != 1 for tag in MORE_THAN_A_SLICE):
            raise UnreadableError(f"'{name}' is multi-frame or in colour; a series of single grey slices is needed")
        planes[name] = np.hstack([np.asarray(header[tag].value, dtype=float) for tag in PLANE])
    first, *others = planes
    odd = next((name for name in others if not np.allclose(planes[name], planes[first], rtol=0, atol=1e-3)), None)
    if odd:
        raise UnreadableError(
            f"'{first}' and '{odd}' differ in size, pixel spacing or orientation; move scouts and reformatted slices "
            "out of the folder"
        )
    row, column = planes[first][4:].reshape(2, 3)
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], rtol=0, atol=1e-2):
        raise UnreadableError(
            f"'{first}': ImageOrientationPatient {(*row, *column)} is no pair of perpendicular directions; export the "
            "series again"
        )
    return np.cross(row, column)


def _check_spacing(files: Sequence[str], positions: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices whose positions [N, 3], in order, are not evenly spaced on a line."""
    names = [os.path.basename(file) for file in files]
    if not np.isfinite(positions).all():
        raise UnreadableError("holds slices whose ImagePositionPatient is not finite; export it again")
    steps = np.diff(positions, axis=0)
    same = np.flatnonzero(steps @ normal < SAME_PLACE)
    if same.size:
        raise UnreadableError(
            f"holds several slices of one place, {same.size} in all, for example '{names[same[0]]}' and "
            f"'{names[same[0] + 1]}': copies, or several acquisitions; keep one"
        )
    usual = np.median(steps, axis=0)
    even = np.linspace(positions[0], positions[-1], len(positions))
    limit = SLICE_TOLERANCE * np.linalg.norm(positions[-1] - positions[0]) / len(steps)
    if (np.linalg.norm(positions - even, axis=1) > limit).any():
        off = np.linalg.norm(steps - usual, axis=1)
        worst = int(np.argmax(off))
        raise UnreadableError(
            f"has slices that are not evenly spaced: after '{names[worst]}' the next one, '{names[worst + 1]}', lies "
            f"{np.linalg.norm(steps[worst]):.4g} mm away, not {np.linalg.norm(usual):.4g} mm ({(off > limit).sum()} of "
            f"{len(steps)} distances differ); slices are missing or of several spacings: export the series again"
        )
