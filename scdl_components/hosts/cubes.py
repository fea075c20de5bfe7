# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Volumes in cubes: cut, put together, exchanged between volumes of a batch."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor


def cut(volumes: Tensor, grid: Sequence[int]) -> Tensor:
    """Cut volumes [B, C, *spatial], of two or three axes, into cubes.

    Args:
        volumes: spatial sizes are multiples of the grid's.
        grid: cubes along each axis.

    Returns:
        [B · places, C, *cube]: those of a volume one after the other, the last axis fastest.
    """
    axes = range(2, 2 + 2 * len(grid))
    cubes = _by_cube(volumes, grid).permute(0, *axes[::2], 1, *axes[1::2])
    return cubes.flatten(0, len(grid))


def put_together(cubes: Tensor, grid: Sequence[int]) -> Tensor:
    """Put cubes [B · places, C, *cube] of :func:`cut` together to volumes [B, C, *spatial]."""
    dims = len(grid)
    cubes = cubes.reshape(-1, *grid, *cubes.shape[1:])
    axes = chain.from_iterable((1 + axis, dims + 2 + axis) for axis in range(dims))
    volumes = cubes.permute(0, dims + 1, *axes)
    return volumes.reshape(*volumes.shape[:2], *(n * size for n, size in zip(grid, cubes.shape[dims + 2 :])))


def exchange(volumes: Tensor, order: Tensor) -> Tensor:
    """Exchange cubes at the same place between the volumes of a batch.

    Args:
        volumes: [B, C, *spatial].
        order: volume whose cube each volume gets at each place, a permutation of the batch for each place, [B, *grid];
            ``order.argsort(0)`` undoes it.
    """
    cubes = _by_cube(volumes, order.shape[1:])
    index = order.reshape(len(order), 1, *chain.from_iterable((n, 1) for n in order.shape[1:]))
    return torch.gather(cubes, 0, index.expand_as(cubes)).reshape(volumes.shape)


def _by_cube(volumes: Tensor, grid: Sequence[int]) -> Tensor:
    """Split each axis: [B, C, grid x, cube x, grid y, ...]."""
    sizes = chain.from_iterable((n, size // n) for n, size in zip(grid, volumes.shape[2:]))
    return volumes.reshape(*volumes.shape[:2], *sizes)
