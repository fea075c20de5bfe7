# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Functions run by several processes that speak to each other through gloo."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(function: Callable[[], object], folder: Path, world_size: int = 2) -> list[object]:
    """What a function of an importable module returns in each of so many processes; plain values and tensors.

    A process ends when its function has returned, whatever the others do.
    """
    mp.spawn(_rank, (world_size, function, folder), world_size)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world_size)]


def _rank(rank: int, world_size: int, function: Callable[[], object], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    torch.save(function(), folder / f"{rank}.pt")
