# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""How the voxels of a volume lie in the patient."""

import itertools
from collections.abc import Sequence

import nibabel as nib
import numpy as np


def grid_distance(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """Measure how far two grids of one shape are apart at their corners, in voxels."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, length - 1) for length in shape))])
    offsets = (corners @ (affine - other).T)[:, :3]
    return float(np.linalg.norm(offsets @ np.linalg.inv(affine[:3, :3]).T, axis=1).max())


def axes_of(affine: np.ndarray) -> str:
    """Name where the voxel axes point to in the patient, e.g. ``LPS``."""
    return "".join(axis or "?" for axis in nib.aff2axcodes(affine))


def in_ras(affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Compute affine and shape in RAS order, as ``nibabel.as_closest_canonical`` does."""
    axes = nib.io_orientation(affine)
    turned = affine @ nib.orientations.inv_ornt_aff(axes, shape)
    return turned, tuple(shape[int(axis)] for axis in np.argsort(axes[:, 0]))


def is_degenerate(affine: np.ndarray) -> bool:
    """Tell whether an affine has NaN, axes of no length, or parallel ones."""
    if not np.isfinite(affine).all():
        return True
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-2)
