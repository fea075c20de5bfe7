# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The two solids of the organs, as signed distances in millimetres (negative inside).

Coordinates are the patient's: +x right, +y anterior, +z superior, as in nibabel's RAS+.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with semi-axes ``radii`` (mm) along the columns of ``axes`` (3 x 3, orthonormal)."""

    center: np.ndarray
    radii: np.ndarray
    axes: np.ndarray

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the corners of the axis-aligned box around it, mm."""
        half = np.sqrt(((self.axes * self.radii) ** 2).sum(axis=1))
        return self.center - half, self.center + half

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Approximate the signed distance: exact on the surface, within a few per cent near it."""
        offset = (x - self.center[0], y - self.center[1], z - self.center[2])
        level, slope = 0.0, 0.0
        for axis in range(3):
            along = sum(self.axes[i, axis] * offset[i] for i in range(3)) / self.radii[axis]
            level = level + along**2
            slope = slope + (along / self.radii[axis]) ** 2
        level, slope = np.sqrt(level), np.sqrt(slope)
        # level / slope tends to a semi-axis at the centre, where both vanish
        return (level - 1.0) * np.where(slope > 1e-9, level / np.maximum(slope, 1e-9), self.radii.min())


@dataclass(frozen=True)
class Capsule:
    """A straight piece of tube (mm) whose radius runs linearly from start to end."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the corners of the axis-aligned box around it, mm."""
        widest = max(self.radii)
        return np.minimum(self.start, self.end) - widest, np.maximum(self.start, self.end) + widest

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Measure the distance to the axis minus the radius at its nearest point."""
        offset = (x - self.start[0], y - self.start[1], z - self.start[2])
        direction = self.end - self.start
        length2 = max(float((direction**2).sum()), 1e-12)
        t = np.clip(sum(direction[i] * offset[i] for i in range(3)) / length2, 0.0, 1.0)
        away = np.sqrt(sum((offset[i] - t * direction[i]) ** 2 for i in range(3)))
        return away - (self.radii[0] + t * (self.radii[1] - self.radii[0]))


Solid = Ellipsoid | Capsule


def bounds(solids: Sequence[Solid]) -> tuple[np.ndarray, np.ndarray]:
    """Compute the corners of the axis-aligned box around solids, mm."""
    lows, highs = zip(*(solid.bounds() for solid in solids))
    return np.min(lows, axis=0), np.max(highs, axis=0)


def tube(points: np.ndarray, radii: Sequence[float], step: float = 8.0) -> tuple[Capsule, ...]:
    """Build a smooth tube through points [N, 3] of capsules about ``step`` mm long."""
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)))])
    at = np.linspace(0.0, knots[-1], max(2, int(np.ceil(knots[-1] / step)) + 1))
    if len(points) > 2:
        curve = CubicSpline(knots, points, bc_type="natural")(at)
    else:
        curve = np.stack([np.interp(at, knots, points[:, i]) for i in range(3)], axis=1)
    width = np.interp(at, knots, radii)
    ends = zip(curve[:-1], curve[1:], zip(width[:-1].tolist(), width[1:].tolist()))
    return tuple(Capsule(*end) for end in ends)


def smooth_union(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Unite two signed distances, the crease filled over ``blend`` mm (0: plain minimum)."""
    if blend <= 0:
        return np.minimum(a, b)
    near = np.maximum(blend - np.abs(a - b), 0.0)
    return np.minimum(a, b) - near**2 / (4.0 * blend)
