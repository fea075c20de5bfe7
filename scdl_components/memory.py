# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory: what is free, freed memory that is used again, and an error with a way out when it runs out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from .distributed import world_size
from .errors import UserError, causes

# beside MemoryError: the CPU's allocator, CUDA, cuBLAS and cuDNN raise RuntimeErrors
PHRASES = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# of malloc.h, and what they are at the start of a process
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")  # of Linux


class MemoryShortageError(UserError, MemoryError):
    """There was less memory than was asked for."""


@contextmanager
def memory_shortages(way_out: str) -> Iterator[None]:
    """Turns errors that say that memory ran out into :py:class:`MemoryShortageError`.

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
    """Tells whether an error says that memory ran out."""
    words = isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES)
    return words or isinstance(error, MemoryError)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Takes what is allocated within out of memory that was freed within, where glibc would ask for new pages.

    The process keeps what was freed until :func:`give_back`. Nothing changes without glibc, in other threads than the
    main one, and after an allocation has failed.
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
    """Returns free memory to the system, now and whenever more is freed."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The process's C library where it is glibc."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p  # no other C library has it
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no such handle
        return None
    return libc


def freed_since_peak(status: Path = PROC / "self/status") -> int | None:
    """Bytes by which this process was larger at its peak than it is now; None where the system does not tell."""
    sizes = _entries(status, ":")
    if not {"VmHWM", "VmRSS"} <= sizes.keys():
        return None
    return _kilobytes(sizes["VmHWM"]) - _kilobytes(sizes["VmRSS"])


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that this process can still take on a device; None where that cannot be told.

    On a CPU the least of what the machine and its control groups (containers, batch systems) leave; processes of one
    training on the same machine share it alike.
    """
    if torch.device(device).type != "cpu":
        return None
    free = min([*machine_memory(), *control_group_memory()], default=None)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1  # torchrun's
    return None if free is None else free // processes


def machine_memory(meminfo: Path = PROC / "meminfo") -> Iterator[int]:
    """Bytes that programs can take without swapping, as Linux estimates it; nothing elsewhere."""
    available = _entries(meminfo, ":").get("MemAvailable")
    if available is not None:
        yield _kilobytes(available)


def control_group_memory(membership: Path = PROC / "self/cgroup", mounted: Path = CGROUPS) -> Iterator[int]:
    """Bytes that each control group with a limit leaves to its processes, those above this process's own included.

    Args:
        membership: lines ``number:controllers:/path``, version 2 without a controller's name.
        mounted: version 2 there, or in its folder ``unified``; version 1 in ``memory``.
    """
    for controllers, _, path in (value.partition(":") for value in _entries(membership, ":").values()):
        if controllers == "":
            roots, names, prefix = (mounted, mounted / "unified"), ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):
            names, prefix = ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"
            roots = (mounted / "memory",)
        else:
            continue
        for root in roots:
            # in a container the path may be the host's, and the container's own group is at the root
            own = root / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(root):
                    yield from _left(folder, *names, prefix)


def _left(folder: Path, limit: str, usage: str, prefix: str) -> Iterator[int]:
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
    except (OSError, ValueError):  # ValueError: "max" is no limit
        return
    # pages of files are given back when memory is asked for
    stat = _entries(folder / "memory.stat", " ")
    cached = sum(int(stat.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
    yield max(most - used + cached, 0)


def _entries(file: Path, separator: str) -> dict[str, str]:
    """What is before the first separator of each line -> what is behind it; nothing where there is no file."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(separator) for line in lines)}


def _kilobytes(text: str) -> int:
    return int(text.removesuffix("kB")) * 1024
