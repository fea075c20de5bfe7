# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases that cannot be loaded while training goes on, and worker processes that died."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..errors import InputError

logger = logging.getLogger(__name__)
SECONDS_AFTER_SIGTERM = 5


class Fault(NamedTuple):
    """A sample that could not be loaded: of which stream, its files, and why."""

    stream: str
    files: str
    reason: str


def report_faults(
    faults: Sequence[Fault], iteration: int, skipped: Counter[str], failing: set[str], num_unlabeled: int
) -> None:
    """Count and report what could not be loaded of a batch.

    Args:
        faults: of the batch.
        iteration: of the batch, from 0.
        skipped: how often each file was skipped; changed in place.
        failing: files that failed since an unlabeled case was last loaded; changed in place.
        num_unlabeled: unlabeled cases.

    Raises:
        InputError: a labeled case cannot be loaded, or all unlabeled ones have failed since one was last loaded.
    """
    again = "run the same command again: training goes on from the last checkpoint"
    for stream, files, reason in faults:
        if stream == "labeled":
            raise InputError(
                f"the labeled case {files} cannot be loaded in iteration {iteration + 1}: {reason}. Mend it and {again}"
            )
        skipped[files] += 1
        failing.add(files)
        logger.warning(
            "iteration %d: skipped %s, %s (%d times; %d skipped samples of %d files in all)",
            *(iteration + 1, files, reason, skipped[files], skipped.total(), len(skipped)),
        )
        if len(failing) == num_unlabeled:
            raise InputError(
                f"none of the {num_unlabeled} unlabeled cases can be loaded any more, the last in iteration "
                f"{iteration + 1} ({files}: {reason}). Is their disk still there? When it is, {again}"
            )


@contextmanager
def child_handler_kept() -> Iterator[None]:
    """Take back a DataLoader's signal handler: it raises a worker's death wherever the training happens to be."""
    ours = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGCHLD) if ours else None
    yield
    if ours:
        signal.signal(signal.SIGCHLD, previous)


@contextmanager
def worker_errors(iteration: int) -> Iterator[None]:
    """Tell what can be done where no batch comes from worker processes; iterations count from 0.

    Raises:
        InputError: a worker died, or there is no shared memory left for it.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        # torch's words for an error of the worker's code, which lives on
        if str(error).startswith("Caught ") and "shared memory" not in str(error):
            raise
        raise InputError(
            f"no batch for iteration {iteration + 1}: a loader worker died or got no shared memory ({error}). Workers "
            "hand batches over in shared memory, of which a container has little: start it with --shm-size 2g, or load "
            "without workers, --num_workers 0. If the memory of the machine ran out, --cache_rate 0.5 takes less. The "
            "same command then goes on from the last checkpoint"
        ) from error


def start_worker(worker_id: int) -> None:
    """Leaves it to the training process, in a worker, to end the worker after a signal to both.

    A worker that dies while it holds a lock of the loader's leaves the training process waiting for that lock for ever.
    After SIGTERM it has some seconds more, in which it is ended in order or goes idle.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_AFTER_SIGTERM))
