# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Reading volumes: NIfTI as MONAI does, DICOM series by position; and modalities."""

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import NibabelReader
from monai.utils import ensure_tuple
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from ..bundle import served_series
from ..errors import InputError, MissingFileError, UnreadableError, answer_with_user_errors
from .dicom import read_series, series_modality

CT = "CT"
SUFFIXES = (".nii", ".nii.gz")
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, HeaderDataError, ImageFileError)


def modality_of(image: str, other_modalities: Mapping[str, str]) -> str:
    """Tell an image's modality: a DICOM series' by its headers, a file's by its name.

    MONAI Label keeps a series of a DICOMweb server in a folder beside its file, of the same name.

    Args:
        image: its path; the name of the file that it links to counts, too.
        other_modalities: for each modality but CT, a regular expression that finds its images' file names.

    Returns:
        What the headers say, or the first modality whose expression finds one of the names, else ``"CT"``.
    """
    folder = image if os.path.isdir(image) else image.removesuffix(".gz").removesuffix(".nii")
    if os.path.isdir(folder) and (modality := series_modality(folder)):
        return modality
    names = {os.path.basename(image), os.path.basename(os.path.realpath(image))}
    found = (key for key, pattern in other_modalities.items() if any(re.search(pattern, name) for name in names))
    return next(found, CT)


def load_nifti(path: str | Path) -> nib.Nifti1Image:
    """Load a volume [X, Y, Z]; a fourth axis of length one is dropped.

    Raises:
        InputError: the file cannot be read, or is no volume.
    """
    try:
        image = nib.load(path)
        voxels = np.asanyarray(image.dataobj)
    except UNREADABLE as error:
        raise InputError(f"'{path}' cannot be read ({error}); write it again") from error
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise InputError(f"'{path}' has shape {voxels.shape}; expected one volume of three axes")
    return type(image)(voxels, image.affine, image.header)


class VolumeReader(NibabelReader):
    """Reader of NIfTI files and DICOM series folders for MONAI's ``LoadImage``.

    MONAI reads a folder by ITK where it is installed, else by pydicom, ordered by instance numbers.

    Args:
        modalities: that a DICOM series may have; default any.
    """

    def __init__(self, modalities: Sequence[str] | str | None = None) -> None:
        super().__init__()
        self.modalities = ensure_tuple(modalities) if modalities is not None else None

    def read(self, data: str | os.PathLike | Sequence[str | os.PathLike], **kwargs: object) -> tuple[str, ...]:
        """Return the paths alone: after an error ``LoadImage`` would try other readers.

        Raises:
            ValueError: of a format that those read.
        """
        paths = tuple(map(str, ensure_tuple(data)))
        if not (len(paths) == 1 and os.path.isdir(paths[0])) and not self.verify_suffix(paths):
            raise ValueError(f"{paths}: neither NIfTI nor a folder")
        return paths

    def get_data(self, img: tuple[str, ...]) -> tuple[np.ndarray, dict]:
        """Read voxels and meta data with the affine (RAS, mm).

        Raises:
            MissingFileError: there is no such file.
            InputError: a file cannot be read, a folder is no sound DICOM series, or one is of another modality.
        """
        path = img[0]
        with answer_with_user_errors():
            name, modality = served_series() or (path, modality_of(path, {}))
            if self.modalities is not None and modality not in self.modalities:
                raise InputError(
                    f"'{name}' is a DICOM series of modality {modality}, and {' and '.join(self.modalities)} is "
                    "expected; if it is meant, allow it by the key modalities of inference.yaml, "
                    f'--modalities "{[*self.modalities, modality]}"'
                )
            try:
                if os.path.isdir(path):
                    return read_series(path)
                reader = NibabelReader()  # a new one, as it keeps what it has read
                volume, affine = reader.read(img), nib.load(path).affine
                if not np.array_equal(volume.affine, affine):
                    # MONAI takes the qform where voxel sizes differ in the fifth digit; all else here goes by nibabel's
                    volume.set_sform(affine)
                return reader.get_data(volume)
            except UnreadableError as error:
                raise InputError(f"'{path}' {error}") from error
            except FileNotFoundError as error:
                raise MissingFileError(f"'{path}' does not exist") from error
            except UNREADABLE as error:
                raise InputError(f"'{path}' cannot be read ({error}); write it again") from error
