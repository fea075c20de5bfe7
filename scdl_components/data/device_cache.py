# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cached volumes on a GPU: random crops are then made there, and no batch travels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from monai.data import CacheDataset
from torch.utils.data import Dataset

logger = logging.getLogger(__name__)


def cache_on_device(
    datasets: Sequence[Dataset],
    device: torch.device | str,
    training: Callable[[], int | None] = lambda: None,
    share: float = 0.5,
) -> bool:
    """Moves what data sets keep in memory to a GPU, all or nothing.

    Args:
        datasets: MONAI's cache data sets; with any other, or one that does not keep all of its cases, nothing moves.
        device: of the training; nothing moves to a CPU.
        training: gives the bytes that training will need; they stay free.
        share: of the memory free now that volumes may take, whatever the training needs.

    Returns:
        whether the volumes are there.
    """
    device = torch.device(device)
    if device.type != "cuda" or not all(map(_keeps_all, datasets)):
        return False
    needed = sum(volume_bytes(item) for dataset in datasets for item in dataset._cache)
    free, _ = torch.cuda.mem_get_info(device)
    allowed = min(share * free, free - (training() or 0))
    fits = needed <= allowed
    logger.info(
        "preprocessed volumes, %.1f GB, stay %s: they may take %.1f of the %.1f GB that are free on %s",
        needed / 1e9, f"on {device}" if fits else "in main memory", max(allowed, 0) / 1e9, free / 1e9, device,
    )
    if fits:
        move_cache(datasets, device)
    return fits


def move_cache(datasets: Sequence[CacheDataset], device: torch.device | str) -> None:
    """Moves what data sets keep in memory to a device.

    A random transform that changes its input then changes the cached volume: those of the bundles make new ones.
    """
    for dataset in datasets:
        dataset.copy_cache = False  # a copy of the whole volume for every crop
        dataset._cache = [
            {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in item.items()}
            for item in dataset._cache
        ]


def volume_bytes(item: dict) -> int:
    """What the tensors of a case take."""
    return sum(value.numel() * value.element_size() for value in item.values() if isinstance(value, torch.Tensor))


def _keeps_all(dataset: Dataset) -> bool:
    return (
        isinstance(dataset, CacheDataset)
        and dataset.cache_num == len(dataset)
        and all(isinstance(item, dict) for item in dataset._cache)
    )
