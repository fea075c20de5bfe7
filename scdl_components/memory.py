# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory: measured, reused on a CPU, and an error with advice where it runs out."""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .distributed import world_size
from .errors import UserError, causes

# beside MemoryError: the CPU's allocator, oneDNN, CUDA, cuBLAS and cuDNN raise RuntimeErrors
PHRASES = re.compile(
    "DefaultCPUAllocator|could not create a primitive$|out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
    re.MULTILINE,
)
# of malloc.h, and what they are at the start of a process
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536
ROOT = Path("/")
# control groups of version 2 and 1: folder, limit and usage, prefix of memory.stat's names
CONTROL_GROUPS = (
    ("sys/fs/cgroup", ("memory.max", "memory.current"), ""),
    ("sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"),
)


class MemoryShortageError(UserError, MemoryError):
    """Memory ran out."""


@contextmanager
def memory_shortages(way_out: str) -> Iterator[None]:
    """Turn errors that say that memory ran out into :py:class:`MemoryShortageError`.

    Args:
        way_out: what the user can do; ends the message.

    Raises:
        MemoryShortageError: with the first line of the original error and ``way_out``.
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
    words = isinstance(error, RuntimeError) and PHRASES.search(str(error)) is not None
    return words or isinstance(error, MemoryError)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Reuse memory that is freed within, where glibc would ask for new pages.

    The process keeps what was freed until :func:`give_back`. Without glibc nothing changes, nor in threads other than
    the main one, nor once an allocation has failed.
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
    """Return free memory to the system, now and whenever memory is freed."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """Load the process's C library where it is glibc."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p  # no other C library has it
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no such handle
        return None
    return libc


def freed_since_peak(root: Path = ROOT) -> int | None:
    """Measure how many bytes this process is below its peak; None where unknown."""
    status = _read(root / "proc/self/status")
    sizes = [re.search(rf"{name}:\s*(\d+) kB", status) for name in ("VmHWM", "VmRSS")]
    return 1024 * (int(sizes[0][1]) - int(sizes[1][1])) if all(sizes) else None


def free_memory(root: Path = ROOT) -> int | None:
    """Measure the bytes that this process can still take without swapping; None where unknown.

    It is the least of what Linux estimates for the machine and of what the control groups (containers, batch jobs)
    leave, divided by the number of this training's processes on the machine.
    """
    left = [1024 * int(size) for size in re.findall(r"MemAvailable:\s*(\d+) kB", _read(root / "proc/meminfo"))]
    own = re.findall(r"^\d+:(?:\S*memory\S*)?:/(.*)$", _read(root / "proc/self/cgroup"), re.MULTILINE)
    for top, names, cached in CONTROL_GROUPS:
        # a container sees its own group at the top, a batch job below it
        groups = {Path(top), *(Path(top, path) for path in own)}
        for group in groups | {above for each in groups for above in each.parents if above.is_relative_to(top)}:
            limit, usage, stat = (_read(root / group / name).strip() for name in (*names, "memory.stat"))
            if limit.isdecimal() and usage.isdecimal():  # "max" is no limit
                # pages of files are given back when memory is asked for
                files = sum(map(int, re.findall(rf"^{cached}(?:in)?active_file (\d+)", stat, re.MULTILINE)))
                left.append(max(int(limit) - int(usage) + files, 0))
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1  # torchrun's
    return min(left) // processes if left else None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
