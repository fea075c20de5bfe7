# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Freed memory that is used again, where glibc would give every large piece back and have the next one cleared anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# of malloc.h, and what they are at the start of a process
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536
NEVER = -1


@contextmanager
def reused_memory() -> Iterator[None]:
    """What is allocated within comes out of memory that was freed within it, then or at an earlier time.

    A process keeps what it has freed, so it grows to a little more than its peak, until :func:`give_back`. Nothing
    changes without glibc, in other threads than the main one, and once an allocation has failed: glibc then takes
    large pieces from elsewhere.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    libc.mallopt(M_MMAP_MAX, 0)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MMAP_MAX)


def give_back() -> None:
    """Gives what is free back to the system, and what is freed from now on."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The process' C library where it is glibc."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p  # no other C library has it
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no such handle
        return None
    return libc
