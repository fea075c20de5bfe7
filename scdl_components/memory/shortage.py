# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that runs out while something runs, told with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..errors import UserError

# beside errors of a class of their own: the CPU's allocator, CUDA, cuBLAS and cuDNN raise RuntimeErrors
PHRASES = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


class MemoryShortageError(UserError, MemoryError):
    """There was less memory than was asked for."""


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES)


@contextmanager
def memory_shortages(way_out: Callable[[], str]) -> Iterator[None]:
    """Makes an error that says that memory ran out a :py:class:`MemoryShortageError`.

    Args:
        way_out: gives what the user can do, when it has happened.

    Raises:
        MemoryShortageError: what ran out, in the words of whoever noticed, and ``way_out``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error) or isinstance(error, MemoryShortageError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MemoryShortageError(f"memory ran out ({reason}). {way_out()}") from error
