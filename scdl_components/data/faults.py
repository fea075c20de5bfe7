# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases that cannot be loaded while training goes on, and worker processes that died."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from ..errors import InputError, root_reason
from .cache import PersistentCacheDataset

logger = logging.getLogger(__name__)


class Fault(NamedTuple):
    """A sample that could not be loaded: of which stream, its files, and why."""

    stream: str
    files: str
    reason: str


class FaultTolerantCacheDataset(PersistentCacheDataset):
    """A cache that leaves out what cannot be loaded: who asks for such a case gets the error."""

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


def report_faults(faults: Sequence[Fault], iteration: int, skipped: Counter[str], num_unlabeled: int) -> None:
    """Counts in ``skipped`` and reports what could not be loaded of a batch; its iteration counts from 0.

    Raises:
        InputError: one is labeled, or each of the unlabeled cases has been skipped.
    """
    again = "run the same command again: training goes on from the last checkpoint"
    for stream, files, reason in faults:
        if stream == "labeled":
            raise InputError(
                f"the labeled case {files} cannot be loaded in iteration {iteration + 1}: {reason}. Mend it and {again}"
            )
        skipped[files] += 1
        logger.warning(
            "iteration %d: skipped %s, %s (%d times; %d skipped samples of %d files in all)",
            *(iteration + 1, files, reason, skipped[files], skipped.total(), len(skipped)),
        )
        if len(skipped) == num_unlabeled:
            raise InputError(
                f"none of the {num_unlabeled} unlabeled cases could be loaded, the last in iteration {iteration + 1} "
                f"({files}: {reason}). Is their disk still there? When it is, {again}"
            )


@contextmanager
def starting_workers() -> Iterator[list[BaseProcess]]:
    """Notes the processes that a DataLoader starts; torch would raise their death wherever the training happens to be."""
    others, started = set(multiprocessing.active_children()), []
    listens = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGCHLD) if listens else None
    yield started
    if listens:
        signal.signal(signal.SIGCHLD, previous)
    started += set(multiprocessing.active_children()) - others


def check_workers(workers: Sequence[BaseProcess], error: Exception, iteration: int) -> None:
    """Tells of an error that came in place of the batch of an iteration (from 0) if it is a worker's end.

    Raises:
        InputError: a worker died, or there is no shared memory left for it.
    """
    end = time.monotonic() + 2  # a connection may break before its process counts as dead
    while not (codes := [w.exitcode for w in workers if w.exitcode is not None]) and time.monotonic() < end:
        time.sleep(0.05)
    if not codes and "shared memory" not in str(error):
        return
    ended = f"died ({signal.Signals(-codes[0]).name if codes[0] < 0 else codes[0]})" if codes else "got no shared memory"
    raise InputError(
        f"a loader worker {ended} before iteration {iteration + 1}. Workers hand batches over in shared memory, of which "
        "a container has little: start it with --shm-size 2g, or load without workers, --num_workers 0. If the memory of "
        "the machine ran out, --cache_rate 0.5 takes less. The same command then goes on from the last checkpoint"
    ) from error


def start_worker(worker_id: int) -> None:
    """In a worker process: Ctrl-C reaches it, too, and it is the training process that ends it, after it saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
