# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a segmentation and a reference that are files."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from ..data.grid import grid_distance
from ..data.reader import load_nifti
from ..errors import InputError
from .protocols import Protocol
from .scores import OrganScore

GRID_TOLERANCE = 0.1  # voxels that prediction and reference may be apart at the volume's corners


def read_labels(path: str | Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read class indices (uint8) of a NIfTI file, in RAS order, and their affine.

    Read with nibabel: MONAI's ``LoadImage`` holds four bytes a voxel where one is enough.

    Raises:
        InputError: the file cannot be read, is no volume, or holds other values than 0 to ``num_classes - 1``.
    """
    image = nib.as_closest_canonical(load_nifti(path))
    voxels = np.asanyarray(image.dataobj)
    lowest, highest = voxels.min(), voxels.max()
    if not (lowest >= 0 and highest < num_classes <= 256):
        raise InputError(
            f"'{path}' holds values from {lowest:g} to {highest:g}; expected 0 to {num_classes - 1}, the values of the "
            "classes: is it of another data set?"
        )
    labels = voxels.astype(np.uint8)
    if voxels.dtype.kind == "f" and (labels != voxels).any():
        raise InputError(f"'{path}' holds fractions; expected whole numbers: save it without interpolation")
    return labels, image.affine


def score_files(
    prediction: str | Path, reference: str | Path, num_classes: int, protocol: Protocol
) -> list[OrganScore]:
    """Score a segmentation against its reference: classes 1 to ``num_classes - 1``, with volumes.

    Args:
        prediction: NIfTI file of class indices.
        reference: NIfTI file of class indices on the same grid; the storage order of the axes may differ.
        num_classes: with the background.
        protocol: grid, unit and penalties.

    Raises:
        InputError: a file cannot be used, or the two are on different grids.
    """
    pred, affine = read_labels(prediction, num_classes)
    label, label_affine = read_labels(reference, num_classes)
    if pred.shape != label.shape:
        sizes = ["×".join(map(str, volume.shape)) for volume in (pred, label)]
        raise InputError(
            f"'{prediction}' has {sizes[0]} voxels, its reference '{reference}' {sizes[1]} (in RAS order): "
            "give the segmentation in the patient's own grid, as the inference writes it"
        )
    distance = grid_distance(label_affine, affine, label.shape)
    if not distance <= GRID_TOLERANCE:
        raise InputError(
            f"'{prediction}' lies up to {distance:.3g} voxels off its reference '{reference}' (affines differ): "
            "segment the image that the reference was drawn on"
        )
    volumes = zip(*(organ_volumes(each, label_affine, num_classes) for each in (pred, label)))
    return [
        replace(score, volume_prediction_ml=predicted, volume_reference_ml=true)
        for score, (predicted, true) in zip(protocol(pred, label, label_affine, num_classes), volumes)
    ]


def organ_volumes(labels: np.ndarray, affine: np.ndarray, num_classes: int) -> list[float]:
    """Measure the volumes of classes 1 to ``num_classes - 1`` in ml."""
    # slice by slice: bincount makes eight bytes of every voxel
    counts = sum(np.bincount(part.ravel(), minlength=num_classes) for part in np.moveaxis(labels, 2, 0))
    return (counts[1:] * abs(np.linalg.det(affine[:3, :3])) / 1000).tolist()
