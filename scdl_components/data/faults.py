# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases that cannot be loaded while training goes on: a file that vanished, a worker process that died."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import get_worker_info

from ..errors import InputError, root_reason
from .cache import PersistentCacheDataset

logger = logging.getLogger(__name__)
MAX_RESTARTS = 3


class Fault(NamedTuple):
    """A sample that could not be loaded: of which stream, its files, and why."""

    stream: str
    files: str
    reason: str


class FaultTolerantCacheDataset(PersistentCacheDataset):
    """A cache that leaves out what cannot be loaded: who asks for such a case gets the error.

    The other cases of hours of preprocessing are not lost to one file that vanished since it was checked.
    """

    filling = False

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list:
        self.filling = True
        try:
            return super()._fill_cache(indices)
        finally:
            self.filling = False

    def _load_cache_item(self, idx: int) -> object:
        try:
            return super()._load_cache_item(idx)
        # whatever a reader or transform says of a file that went bad
        except Exception as error:
            if not self.filling:
                raise
            logger.warning("%s cannot be loaded now: %s", self.data[idx], root_reason(error))
            return None  # CacheDataset then loads it when it is asked for


class FaultLog:
    """Counts and reports what cannot be loaded.

    Args:
        sizes: number of cases of each stream.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.skipped: Counter[str] = Counter()
        self.in_row = 0

    def loaded(self) -> None:
        """Notes that unlabeled samples arrived."""
        self.in_row = 0

    def add(self, faults: Sequence[Fault], iteration: int) -> None:
        """Counts faults; ``iteration``, to whose batch they belong, is counted from 0.

        Raises:
            InputError: one is labeled, or as many unlabeled ones in a row as there are cases.
        """
        self.in_row += len(faults)
        for fault in faults:
            if fault.stream == "labeled":
                raise InputError(
                    f"the labeled case {fault.files} cannot be loaded in iteration {iteration + 1}: {fault.reason}. "
                    "Mend it and run the same command again: training goes on from the last checkpoint"
                )
            self.skipped[fault.files] += 1
            logger.warning(
                "iteration %d: skipped %s, %s (%d times; %d skipped samples of %d files in all)",
                iteration + 1, fault.files, fault.reason, self.skipped[fault.files],
                self.skipped.total(), len(self.skipped),
            )
        if faults and self.in_row >= self.sizes["unlabeled"]:
            raise InputError(
                f"{self.in_row} unlabeled samples in a row could not be loaded, the last in iteration {iteration + 1} "
                f"({faults[-1].files}: {faults[-1].reason}). Is their disk still there? Run the same command again "
                "when it is: training goes on from the last checkpoint"
            )

    def add_idle(self, idle: Sequence[int], restarts: int, error: Exception) -> None:
        """Reports workers that died between two cases.

        Raises:
            InputError: they do so again and again.
        """
        if idle:
            logger.warning("worker process(es) %s died between two cases; workers are started anew", idle)
        if restarts > MAX_RESTARTS:
            raise InputError(
                f"loader workers died {restarts} times without a batch between ({error}). Is there memory enough? "
                "Less is taken by --num_workers 0 and --cache_rate 0.5"
            ) from error


class WorkerBoard:
    """What each worker is loading, where the training process can read it after the worker's death.

    Args:
        num_workers: worker processes.
    """

    def __init__(self, num_workers: int) -> None:
        # a row for each worker: process id, and stream, index and seed of its draw or -1
        self.rows = torch.full((num_workers, 4), -1, dtype=torch.int64).share_memory_()

    def enter(self) -> None:
        """Notes that this worker process lives."""
        self.rows[get_worker_info().id] = torch.tensor([os.getpid(), -1, -1, -1])

    def clear(self) -> None:
        """Forgets all workers."""
        self.rows.fill_(-1)

    def begin(self, stream: int, index: int, seed: int) -> None:
        """Notes the draw that this process begins to load."""
        info = get_worker_info()
        if info is not None:
            self.rows[info.id] = torch.tensor([os.getpid(), stream, index, seed])

    def end(self) -> None:
        """Notes that it is loaded."""
        info = get_worker_info()
        if info is not None:
            self.rows[info.id, 1:] = -1

    def dead(self, wait: float = 0.0) -> dict[int, tuple[int, int, int] | None]:
        """Process id -> draw that it was loading, if any, of each worker that died.

        Args:
            wait: seconds to wait for one; a connection may break before its process counts as dead.
        """
        end = time.monotonic() + wait
        while not (dead := self._dead()) and time.monotonic() < end:
            time.sleep(0.05)
        return dead

    def _dead(self) -> dict[int, tuple[int, int, int] | None]:
        alive = {process.pid for process in multiprocessing.active_children()}
        dead = {}
        for row in self.rows:
            pid, *item = row.tolist()
            if pid != -1 and pid not in alive:
                dead[pid] = tuple(item) if item[0] != -1 else None
        return dead


def start_worker(worker_id: int) -> None:
    """In a worker process: Ctrl-C reaches it, too, and it is the training process that ends it, after it saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    get_worker_info().dataset.board.enter()
