# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The reader of all images: NIfTI files as MONAI reads them, DICOM series by their slices' positions."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from monai.data import NibabelReader
from monai.utils import ensure_tuple

from ..errors import InputError, UnreadableError
from .dicom import read_series
from .modality import modality_of


class VolumeReader(NibabelReader):
    """Read NIfTI files and DICOM series folders, whatever other readers are installed; for MONAI's ``LoadImage``.

    MONAI takes ITK for a folder where it is installed, else pydicom, which orders slices by their instance numbers.

    Args:
        modalities: what a DICOM series may be; default anything.
    """

    def __init__(self, modalities: Sequence[str] | str | None = None) -> None:
        super().__init__()
        self.modalities = ensure_tuple(modalities) if modalities is not None else None

    def read(self, data: str | os.PathLike | Sequence[str | os.PathLike], **kwargs: object) -> tuple[str, ...]:
        """The paths alone: after an error here ``LoadImage`` would go on to its other readers.

        Raises:
            ValueError: of a format that those read.
        """
        paths = tuple(map(str, ensure_tuple(data)))
        if not (len(paths) == 1 and os.path.isdir(paths[0])) and not self.verify_suffix(paths):
            raise ValueError(f"{paths}: neither NIfTI nor a folder")
        return paths

    def get_data(self, img: tuple[str, ...]) -> tuple[np.ndarray, dict]:
        """Voxels and meta data with the affine (RAS, mm).

        Raises:
            InputError: a folder is no sound DICOM series, or one of another modality.
        """
        path = img[0]
        if not os.path.isdir(path):
            reader = NibabelReader()  # it notes what it has read, and this one is to stay as it is
            return reader.get_data(reader.read(img))
        modality = modality_of(path, {})
        if self.modalities is not None and modality not in self.modalities:
            raise InputError(
                f"'{path}' is a DICOM series of modality {modality}, and {' and '.join(self.modalities)} is expected; "
                f'if it is meant, allow it with --modalities "{[*self.modalities, modality]}"'
            )
        try:
            return read_series(path)
        except UnreadableError as error:
            raise InputError(f"'{path}' {error}") from error
