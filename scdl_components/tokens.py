# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens: feature maps and label maps pooled to a coarse grid (arXiv 2603.05202; docs/method.md)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import SettingError

ADAPTIVE_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


class Tokens(NamedTuple):
    """Features and class shares of L tokens, in the order of the flattened grid.

    Attributes:
        features: [B, L, D].
        weights: [B, L, C], each row the share of every class among the token's voxels. None without labels.
    """

    features: Tensor
    weights: Tensor | None


def token_grid(spatial_size: Sequence[int], voxels_per_token: int | Sequence[int]) -> tuple[int, ...]:
    """Count the tokens along every axis, at least one: 96³ voxels at 8 give 12³.

    Args:
        spatial_size: size of the image patch in voxels.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.

    Raises:
        SettingError: when ``voxels_per_token`` is not positive or has another length than ``spatial_size``.
    """
    size = tuple(int(n) for n in spatial_size)
    edge = (voxels_per_token,) * len(size) if isinstance(voxels_per_token, int) else tuple(voxels_per_token)
    if len(edge) != len(size) or min(edge) < 1:
        raise SettingError(
            f"voxels_per_token={voxels_per_token} does not fit spatial_size={size}: "
            f"give one positive number, or {len(size)} of them"
        )
    return tuple(max(1, round(n / e)) for n, e in zip(size, edge))


def tokenize(
    features: Tensor,
    label: Tensor | None,
    num_classes: int,
    voxels_per_token: int | Sequence[int],
    spatial_size: Sequence[int] | None = None,
) -> Tokens:
    """Pool a feature map, and its label map where there is one, to tokens.

    Args:
        features: [B, D, *S], at the image's resolution or a lower one.
        label: [B, 1, *image] or [B, *image] class indices, or None.
        num_classes: C, background included.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
        spatial_size: size of the image in voxels; default: that of ``label``, else that of ``features``.
    """
    rank = features.ndim - 2
    if spatial_size is None:
        spatial_size = features.shape[2:] if label is None else label.shape[-rank:]
    grid = token_grid(spatial_size, voxels_per_token)
    weights = None if label is None else pool_labels(label, num_classes, grid)
    return Tokens(pool_tokens(features, grid), weights)


def pool_tokens(features: Tensor, grid: Sequence[int]) -> Tensor:
    """Average the features of every token.

    Args:
        features: [B, D, *S].
        grid: tokens along every spatial axis.

    Returns:
        [B, L, D] in the order of ``grid`` flattened, float32 of half precision.

    Raises:
        SettingError: there are more tokens than features along an axis, which would be copies of one another.
    """
    size = tuple(features.shape[2:])
    if any(tokens > found for tokens, found in zip(grid, size)):
        raise SettingError(
            f"features of {size} cannot make {tuple(grid)} tokens: raise voxels_per_token, or take a feature_module of "
            "a finer resolution"
        )
    return _pool(features, grid).flatten(2).transpose(1, 2)


def pool_labels(label: Tensor, num_classes: int, grid: Sequence[int]) -> Tensor:
    """Measure the share of every class among the voxels of every token.

    Args:
        label: [B, 1, *S] or [B, *S] class indices, of an integer type or floats that hold integers.
        num_classes: C, background included.
        grid: tokens along every spatial axis.

    Returns:
        [B, L, C] float32; rows sum to 1.

    Raises:
        ValueError: when ``label`` has another shape, or on the CPU a value outside 0..C-1. On a GPU the check would
            wait for the device: there such voxels count in no class.
    """
    label = _index_map(label, len(grid))
    if label.device.type == "cpu":
        _check_labels(label, num_classes)
    label = label.to(torch.int16)  # a quarter of int64's traffic in the C comparisons below
    # class by class in one map, so that no one-hot map of the whole patch is ever held
    is_class = torch.empty(label.shape, device=label.device)
    shares = [_pool(torch.eq(label, c, out=is_class), grid).flatten(1) for c in range(num_classes)]
    weights = torch.stack(shares, dim=-1)
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def full_precision(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; leave other types as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _pool(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Average values [B, K, *S] to [B, K, *grid], float32 of half precision."""
    rank = len(grid)
    if rank not in ADAPTIVE_POOLS:
        raise ValueError(f"tokens need 1, 2 or 3 spatial axes, found {rank}")
    dtype = torch.promote_types(values.dtype, torch.float32)
    if any(size % cells for size, cells in zip(values.shape[2:], grid)):
        return ADAPTIVE_POOLS[rank](values.to(dtype), tuple(grid))
    # cells of one size, axis by axis: faster on a CPU, and deterministic on a GPU
    for axis, cells in enumerate(grid, start=2):
        values = values.unflatten(axis, (cells, -1)).mean(axis + 1, dtype=dtype)
    return values


def _index_map(label: Tensor, rank: int) -> Tensor:
    if label.ndim == rank + 1:
        label = label.unsqueeze(1)
    if label.ndim != rank + 2 or label.shape[1] != 1:
        raise ValueError(
            f"label has shape {tuple(label.shape)}, expected class indices [B, 1, *S] or [B, *S] with {rank} spatial "
            "axes: take the argmax of a one-hot label first"
        )
    return label


def _check_labels(label: Tensor, num_classes: int) -> None:
    known = (label >= 0) & (label < num_classes)
    if not known.all():
        found = sorted(label[~known].unique().tolist())[:10]
        raise ValueError(f"label holds {found}, expected 0..{num_classes - 1}: map these values, or raise num_classes")
