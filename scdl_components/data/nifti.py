# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A NIfTI file as one volume of three axes."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from ..errors import InputError

SUFFIXES = (".nii", ".nii.gz")
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, HeaderDataError, ImageFileError)


def load_nifti(path: str | Path) -> nib.Nifti1Image:
    """Loads a volume [X, Y, Z]; a fourth axis of length one is dropped, as the input check and MONAI do.

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
