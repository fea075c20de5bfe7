# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A scan of one patient: the grid of the scanner, the attenuation of every voxel, blur and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from .anatomy import Anatomy, SmoothField, Structure, draw_anatomy
from .shapes import Solid, bounds, smooth_union
from .table import HU, KNOWN_ORGANS

_FAR = 1e3  # a distance beyond all margins, mm
_ORIENTATIONS = {"RAS": 0.4, "LPS": 0.4, "LAS": 0.2}
_AIR, _LOWEST = -1000.0, -1024.0
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """A grid along the patient's axes, stored in RAS order.

    Attributes:
        axes: voxel centres along x, y and z, in mm of the anatomy (the patient's size taken out).
        spacing: voxel size, mm.
        origin: where the first voxel lies in the scanner's space, mm.
        orientation: axis codes of the file.
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    orientation: str


def phantom_case(
    seed: int, case: tuple[int, int], organs: Sequence[str], spacing: Sequence[float], variation: float = 1.0
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Draw one case; the result depends on the arguments alone.

    Args:
        seed: of the data set.
        case: number of the stream (train, validation or test) and of the case within it.
        organs: organ names; the label of a voxel is the 1-based position of its organ, 0 where it is none of them.
        spacing: nominal voxel size (x, y, z) in mm, varied from case to case.
        variation: factor of what patients and scanners differ by.

    Returns:
        The CT (int16, HU) and its label (uint8), with the same affine.
    """
    anatomy_seed, grid_seed, noise_seed = np.random.SeedSequence(seed, spawn_key=case).spawn(3)
    anatomy = draw_anatomy(np.random.Generator(np.random.PCG64(anatomy_seed)), variation)
    grid = draw_grid(anatomy, organs, spacing, np.random.Generator(np.random.PCG64(grid_seed)))
    hu, known = rasterise(anatomy, grid)
    hu = _acquire(hu, grid, np.random.Generator(np.random.PCG64(noise_seed)), variation)
    organs = list(organs)
    values = np.array([0, *(organs.index(name) + 1 if name in organs else 0 for name in KNOWN_ORGANS)], dtype=np.uint8)
    return _to_nifti(hu, grid), _to_nifti(values[known], grid)


def draw_grid(anatomy: Anatomy, organs: Sequence[str], spacing: Sequence[float], rng: np.random.Generator) -> Grid:
    """Draw the scanner's grid: the trunk, from the lung bases to below the lowest organ."""
    stretch = rng.uniform(0.9, 1.15)
    voxel = np.array([spacing[0] * stretch, spacing[1] * stretch, spacing[2] * rng.uniform(0.8, 1.3)])
    scale = np.asarray(anatomy.scale)
    torso = anatomy.torso
    slack = torso.muscle + torso.fat
    width = np.clip(2 * (torso.half_axes[0] + slack) * scale[0] * rng.uniform(1.0, 1.12), 300.0, 400.0)
    depth = np.clip(2 * (torso.half_axes[1] + slack) * scale[1] * rng.uniform(1.02, 1.2), 220.0, 400.0)
    bottom = min(bounds(s.solids)[0][2] for s in anatomy.structures if s.part.name in (*organs, "liver"))
    lowest = (bottom - anatomy.deformation.values[2].max() - rng.uniform(0.0, 30.0)) * scale[2]
    highest = (max(torso.dome) + rng.uniform(5.0, 40.0)) * scale[2]
    off_center = rng.uniform(-4.0, 4.0, size=2)
    low = np.array([-width / 2 + off_center[0], -depth / 2 + off_center[1], lowest])
    count = np.maximum(np.round(np.array([width, depth, highest - lowest]) / voxel).astype(int), 1)
    origin = low + np.array([*rng.uniform(-40.0, 40.0, size=2), rng.uniform(-900.0, 300.0)])
    orientation = rng.choice(list(_ORIENTATIONS), p=list(_ORIENTATIONS.values()))
    return Grid(
        axes=tuple((low[i] + voxel[i] * (np.arange(count[i]) + 0.5)) / scale[i] for i in range(3)),
        spacing=tuple(voxel.tolist()),
        origin=tuple(origin.tolist()),
        orientation=str(orientation),
    )


def rasterise(anatomy: Anatomy, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Draw attenuation (HU, float64), still sharp, and organs (uint8, 1-based in ``KNOWN_ORGANS``)."""
    warped = anatomy.deformation.on_grid(grid.axes)
    for i in range(3):
        warped[i] += grid.axes[i].reshape([-1 if axis == i else 1 for axis in range(3)])
    torso = anatomy.torso
    cavity = torso.cavity(warped[0], warped[1])
    diaphragm = torso.above_diaphragm(*warped)
    voxel = float(np.mean(grid.spacing))
    fat, muscle, lung = HU["fat"][0], HU["muscle"][0], HU["lung"][0]

    hu = np.full(cavity.shape, _AIR)
    _paint(hu, cavity - torso.muscle - torso.fat, fat, voxel)
    _paint(hu, cavity - torso.muscle, muscle, voxel)
    _paint(hu, cavity, fat, voxel)
    _paint(hu, np.maximum(cavity, -diaphragm - 4.0), muscle, voxel)
    _paint(hu, np.maximum(cavity, -diaphragm), lung, voxel)
    known = np.zeros(cavity.shape, dtype=np.uint8)
    values = {name: value for value, name in enumerate(KNOWN_ORGANS, start=1)}
    abdomen = np.maximum(cavity + 2.0, diaphragm + 4.5)
    for structure in anatomy.structures:
        part = structure.part
        box, outer, inner = signed_distance(structure, anatomy.deformation, grid.axes, warped, voxel)
        if inner.size == 0:
            continue
        if part.below_diaphragm:
            outer, inner = np.maximum(outer, abdomen[box]), np.maximum(inner, abdomen[box])
        if part.within:
            inner = np.where(known[box] == values[part.within], inner, _FAR)
        if structure.fat > 0:
            _paint(hu[box], outer - structure.fat, fat, voxel)
            known[box][outer < structure.fat] = 0
        _paint(hu[box], inner, structure.hu, voxel)
        if part.wall > 0:
            _paint(hu[box], inner + part.wall, structure.content_hu, voxel)
        if np.isfinite(structure.gas_above):
            gas = np.maximum(inner + part.wall, structure.gas_above - warped[1][box])
            _paint(hu[box], gas, HU["gas"][0], voxel)
        if not part.within:
            known[box][inner < 0] = values.get(part.name, 0)
    return hu, known


def signed_distance(
    structure: Structure, deformation: SmoothField, axes: Sequence[np.ndarray], warped: np.ndarray, voxel: float
) -> tuple[Box, np.ndarray, np.ndarray]:
    """Measure the distance to a structure on the part of the grid that it can reach.

    Args:
        structure: what to draw.
        deformation: the anatomy's, for its range.
        axes: the grid's coordinates, mm.
        warped: the grid's coordinates after deformation, [3, X, Y, Z], mm.
        voxel: margin (mm) within which partial volumes are wanted.

    Returns:
        The box of the grid, and the distance in it without and with what is carved away (mm, negative inside).
    """
    margin = voxel + structure.fat + structure.part.blend
    box = _reach(structure.solids, margin, deformation, axes)
    outer = np.full([s.stop - s.start for s in box], _FAR)
    for solid in structure.solids:
        own = _reach([solid], margin, deformation, axes)
        inside = tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(own, box))
        outer[inside] = smooth_union(outer[inside], solid.distance(*warped[(slice(None), *own)]), structure.part.blend)
    inner = outer
    for ball in structure.carved:
        inner = np.maximum(inner, -ball.distance(*warped[(slice(None), *box)]))
    return box, outer, inner


def _reach(solids: Sequence[Solid], margin: float, deformation: SmoothField, axes: Sequence[np.ndarray]) -> Box:
    """Find the grid points that the deformation can bring near solids (margin in mm)."""
    slices = []
    for low, high, moved, coordinates in zip(*bounds(solids), deformation.values, axes):
        # u + d(u) reaches the box only from within the box moved by the range of -d
        ends = low - margin - moved.max(), high + margin - moved.min()
        first, stop = np.searchsorted(coordinates, ends[0]), np.searchsorted(coordinates, ends[1], side="right")
        slices.append(slice(int(first), int(stop)))
    return tuple(slices)


def _paint(hu: np.ndarray, distance: np.ndarray, value: float, voxel: float) -> None:
    """Blend ``value`` into ``hu``, by the share of the voxel where the distance is negative."""
    share = np.clip(0.5 - distance / voxel, 0.0, 1.0)
    hu += share * (value - hu)


def _acquire(hu: np.ndarray, grid: Grid, rng: np.random.Generator, variation: float) -> np.ndarray:
    """Add what a scanner does: point spread, a slight shading, correlated noise; int16."""
    wider = variation - 1.0
    spread = rng.uniform(0.7, 1.1 + wider)
    through_plane = rng.uniform(0.35, 0.6)
    sigma = [np.hypot(spread, 0.35 * grid.spacing[0])] * 2 + [np.hypot(spread, through_plane * grid.spacing[2])]
    hu = gaussian_filter(hu, [s / v for s, v in zip(sigma, grid.spacing)], mode="nearest", truncate=3.0)
    shading = SmoothField(4.0 * variation * np.clip(rng.standard_normal((5, 5, 6)), -2.0, 2.0))
    deviation, grain = rng.uniform(15.0, 25.0 + 15.0 * wider), rng.uniform(0.5, 0.7)
    noise = gaussian_filter(rng.standard_normal(hu.shape), [grain, grain, 0.4], mode="wrap", truncate=3.0)
    hu += shading.on_grid(grid.axes) * (hu > -500.0) + deviation / noise.std() * noise
    return np.maximum(np.round(hu), _LOWEST).astype(np.int16)


def _to_nifti(array: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    affine = np.diag([*grid.spacing, 1.0])
    affine[:3, 3] = grid.origin
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image = image.as_reoriented(nib.orientations.axcodes2ornt(grid.orientation))
    image.set_qform(image.affine, code=1)
    image.set_sform(image.affine, code=1)
    return image
