# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""One patient drawn around the mean anatomy of ``table.py``: organs, trunk, attenuations and a smooth deformation.

The anatomy is in millimetres and knows no grid: the same patient can be scanned at any spacing.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline

from .shapes import Ellipsoid, Solid, bounds, tube
from .table import ABSENCE, HU, PHASES, Ball, Part, Pipe, table


@dataclass(frozen=True)
class Structure:
    """A part of one patient, with what was drawn for it."""

    part: Part
    solids: tuple[Solid, ...]
    carved: tuple[Ellipsoid, ...]
    fat: float
    hu: float
    content_hu: float
    gas_above: float  # y in mm, infinite where there is no gas


@dataclass(frozen=True)
class Torso:
    """Hold the trunk (mm): a rounded box around the cavity, muscle, fat, two diaphragm domes."""

    half_axes: tuple[float, float]
    muscle: float
    fat: float
    dome: tuple[float, float]  # height on the right and on the left

    def cavity(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Measure the distance to the trunk's inner wall along the ray from the axis, negative inside."""
        level = (np.abs(x / self.half_axes[0]) ** 2.4 + np.abs(y / self.half_axes[1]) ** 2.4) ** (1 / 2.4)
        return np.sqrt(x**2 + y**2) * (1.0 - 1.0 / np.maximum(level, 1e-3))

    def above_diaphragm(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Approximate the distance to the diaphragm, positive above it."""
        right, left = self.dome
        lateral = (np.abs(x) - 70.0) / 70.0
        height = (right + left) / 2 + (right - left) / 2 * np.clip(x / 70.0, -1.0, 1.0)
        height = height - np.where(lateral < 0, 25.0, 42.0) * lateral**2 - 45.0 * (y / self.half_axes[1]) ** 2
        return 0.8 * (z - height)


@dataclass(frozen=True)
class SmoothField:
    """Interpolate control values [..., I, J, K] over a box (mm) by cubic B-splines.

    It never leaves the range of its control values, and is separable, so that a whole grid costs little.
    """

    values: np.ndarray
    low: tuple[float, float, float] = (-280.0, -230.0, -350.0)
    high: tuple[float, float, float] = (280.0, 230.0, 300.0)

    def on_grid(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Evaluate the field at the grid points of three coordinate vectors (mm): [..., X, Y, Z]."""
        field = self.values
        for axis, coordinates, low, high in zip((-3, -2, -1), axes, self.low, self.high):
            count = self.values.shape[axis]
            knots = np.linspace(low, high, count - 2)
            step = knots[1] - knots[0]
            knots = np.concatenate([knots[0] + step * np.arange(-3, 0), knots, knots[-1] + step * np.arange(1, 4)])
            basis = BSpline.design_matrix(np.clip(coordinates, low, high), knots, 3).toarray()
            # summed in this order, so that the result is the same on every machine
            rows = np.moveaxis(field, axis, 0)
            field = np.moveaxis(sum(rows[k][..., None] * basis[:, k] for k in range(count)), -1, axis)
        return field


@dataclass(frozen=True)
class Anatomy:
    """Hold one patient.

    A point u (mm, body-sized by ``scale``) shows what the mean anatomy has at u + deformation(u).
    """

    structures: tuple[Structure, ...]
    torso: Torso
    deformation: SmoothField
    scale: tuple[float, float, float]


def draw_anatomy(rng: np.random.Generator, variation: float = 1.0) -> Anatomy:
    """Draw one patient: sex, build, contrast phase, absent organs, and every part's shape.

    Args:
        rng: of all draws; the number of draws does not depend on ``variation``.
        variation: factor of what patients differ by: places, sizes, turns, deformation, attenuation.
    """
    absent = _draw_absent(rng)
    phase = int(rng.choice(len(PHASES), p=list(PHASES.values())))
    tissues = {name: hu[phase] for name, hu in HU.items()}
    for name in tissues:
        # patients in the same phase differ, more so with more contrast
        spread = 4.0 + 0.05 * abs(tissues[name]) if tissues[name] > 0 else 3.0
        tissues[name] += variation * spread * _normal(rng)
    if rng.random() < 0.12:
        tissues["liver"] -= 30.0  # steatosis
    fat = rng.uniform(8.0, 32.0)
    torso = Torso(
        half_axes=(138.0 + 0.25 * fat, 94.0 + 0.35 * fat),
        muscle=rng.uniform(9.0, 15.0),
        fat=fat,
        dome=(98.0 + 5.0 * _normal(rng), 88.0 + 5.0 * _normal(rng)),
    )
    deformation = SmoothField(variation * np.clip(6.0 * rng.standard_normal((3, 8, 7, 9)), -11.0, 11.0))
    scale = tuple(1.0 + 0.04 * variation * _normal(rng) for _ in range(3))
    female = bool(rng.random() < 0.5)
    oral_contrast = bool(rng.random() < 0.2)
    # thin patients have little fat between their organs
    bedding = fat / 20.0
    parts = [
        replace(part, shift=variation * part.shift, size=variation * part.size, turn=variation * part.turn)
        for part in table(female)
    ]
    structures = [_draw_structure(part, tissues, bedding, oral_contrast, rng) for part in parts]
    present = tuple(structure for structure in structures if structure.part.name not in absent)
    return Anatomy(present, torso, deformation, scale)


def _draw_absent(rng: np.random.Generator) -> set[str]:
    draws = {name: rng.random() < chance for name, chance in ABSENCE.items()}
    side = "right kidney" if rng.random() < 0.5 else "left kidney"
    return {side if name == "one kidney" else name for name, drawn in draws.items() if drawn}


def _draw_structure(
    part: Part, tissues: dict[str, float], bedding: float, oral_contrast: bool, rng: np.random.Generator
) -> Structure:
    middle = np.mean([_middle(solid) for solid in part.solids], axis=0)
    turn = _rotation(part.turn * _normals(rng, 3))
    shift = middle + part.shift * _normals(rng, 3)
    size = np.exp(part.size * _normal(rng))
    solids: list[Solid] = []
    for solid in part.solids:
        if isinstance(solid, Ball):
            own = size * np.exp(0.5 * part.size * _normals(rng, 3))
            solids.append(_place(solid, middle, turn, shift, own))
        else:
            through = np.asarray(solid.through, dtype=np.float64)
            bend = 0.5 * part.shift * _normals(rng, through[:, :3].shape)
            points = (turn * (through[:, None, :3] - middle)).sum(axis=-1) + shift + bend
            solids.extend(tube(points, through[:, 3] * size))
    carved = tuple(_place(ball, middle, turn, shift, np.ones(3)) for ball in part.carved)
    content = tissues[part.content or part.tissue]
    if part.content == "gut content":
        # fluid, food or stool, or a contrast agent; all are drawn, so that later draws stay the same
        fluid, food, agent = rng.uniform(0, 30), rng.uniform(35, 95), rng.uniform(140, 320)
        chance = rng.random()
        content = agent if oral_contrast and chance < 0.6 else fluid if rng.random() < 0.5 else food
    has_gas, level = rng.random() < part.gas, rng.uniform(0.5, 0.85)
    (_, back, _), (_, front, _) = bounds(solids)
    gas_above = float(back + level * (front - back)) if has_gas else np.inf
    return Structure(part, tuple(solids), carved, part.fat * bedding, tissues[part.tissue], content, gas_above)


def _normal(rng: np.random.Generator) -> float:
    return float(_normals(rng, 1)[0])


def _normals(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    """Draw normal numbers cut at two standard deviations: an anatomy is never absurd."""
    return np.clip(rng.standard_normal(shape), -2.0, 2.0)


def _middle(solid: Ball | Pipe) -> np.ndarray:
    return np.asarray(solid.center) if isinstance(solid, Ball) else np.mean(solid.through, axis=0)[:3]


def _place(ball: Ball, middle: np.ndarray, turn: np.ndarray, shift: np.ndarray, size: np.ndarray) -> Ellipsoid:
    center = (turn * (np.asarray(ball.center) - middle)).sum(axis=-1) + shift
    axes = (turn[:, :, None] * _rotation(np.asarray(ball.tilt))[None]).sum(axis=1)
    return Ellipsoid(center, np.asarray(ball.radii) * size, axes)


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """Compute the rotation [3, 3] about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array(
        [
            [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
            [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
            [-sy, sx * cy, cx * cy],
        ]
    )
