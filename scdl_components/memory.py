# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory: an error with a way out when it runs out, and on a CPU freed memory that is used again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from .errors import UserError, causes

# beside MemoryError: the CPU's allocator, CUDA, cuBLAS and cuDNN raise RuntimeErrors
PHRASES = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# of malloc.h, and what they are at the start of a process
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536


class MemoryShortageError(UserError, MemoryError):
    """There was less memory than was asked for."""


@contextmanager
def memory_shortages(way_out: str) -> Iterator[None]:
    """Turn errors that say that memory ran out into :py:class:`MemoryShortageError`.

    Args:
        way_out: what the user can do; ends the message.

    Raises:
        MemoryShortageError: what ran out, in the words of whoever noticed, and ``way_out``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # MONAI wraps what a transform raises
        shortage = next(filter(is_shortage, causes(error)), None)
        if shortage is None or isinstance(error, MemoryShortageError):
            raise
        reason = (str(shortage).splitlines() or [type(shortage).__name__])[0]
        raise MemoryShortageError(f"memory ran out ({reason}). {way_out}") from error


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    words = isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES)
    return words or isinstance(error, MemoryError)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Allocate large tensors within from memory that was freed within, where glibc would ask for new pages.

    The process keeps what was freed until :func:`give_back`. Without glibc, and in other threads than the main one,
    nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    libc.mallopt(M_MMAP_MAX, 0)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MMAP_MAX)


def give_back() -> None:
    """Return free memory to the system, now and whenever more is freed."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p  # no other C library has it
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no such handle
        return None
    return libc
