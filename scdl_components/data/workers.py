# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes of a loader: how they end, and what to do when one dies."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError

SECONDS_AFTER_SIGTERM = 5


@contextmanager
def child_handler_kept() -> Iterator[None]:
    """Undo a DataLoader's handler of SIGCHLD, which raises anywhere in the training."""
    ours = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGCHLD) if ours else None
    yield
    if ours:
        signal.signal(signal.SIGCHLD, previous)


@contextmanager
def worker_errors(iteration: int) -> Iterator[None]:
    """Explain why worker processes hand over no batch for an iteration (from 0).

    Raises:
        InputError: a worker died, or there is no shared memory left for it.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        # torch's words for an error in the worker's code; the worker itself is alive
        if str(error).startswith("Caught ") and "shared memory" not in str(error):
            raise
        raise InputError(
            f"no batch for iteration {iteration + 1}: a loader worker died or got no shared memory ({error}). Workers "
            "hand batches over in shared memory, of which a container has little: start it with --shm-size 2g, or load "
            "without workers, --num_workers 0. If the memory of the machine ran out, --cache_rate 0.5 takes less. The "
            "same command then goes on from the last checkpoint"
        ) from error


def start_worker(worker_id: int) -> None:
    """Let the training process end this worker after a signal to both.

    If a worker dies while it holds a lock of the loader's, the training process waits for that lock for ever. After
    SIGTERM it has some seconds more, in which the training process ends it or it goes idle.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_AFTER_SIGTERM))
