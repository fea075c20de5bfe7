# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that is free on a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from ..distributed import world_size


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that this process can still take on a device; None where that cannot be told.

    On a CPU the least of what the machine and its control groups (containers, batch systems) leave; processes of one
    training on the same machine share it alike.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    free = min([*machine_memory(), *control_group_memory()], default=None)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1  # torchrun's
    return None if free is None else free // processes


def machine_memory(meminfo: Path = Path("/proc/meminfo")) -> Iterator[int]:
    """Bytes that programs can take without swapping, as Linux estimates it; nothing elsewhere."""
    for name, value in _entries(meminfo, separator=":"):
        if name == "MemAvailable":
            yield int(value.removesuffix("kB")) * 1024


def control_group_memory(
    membership: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """Bytes that each control group with a limit leaves to its processes, those above this process' own included.

    Args:
        membership: lines ``number:controllers:/path``, version 2 without a controller's name.
        mounted: version 2 there, or in its folder ``unified``; version 1 in ``memory``.
    """
    for controllers, _, path in (value.partition(":") for _, value in _entries(membership, separator=":")):
        if controllers == "":
            roots, limit, usage, prefix = (mounted, mounted / "unified"), "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            roots, limit, usage = (mounted / "memory",), "memory.limit_in_bytes", "memory.usage_in_bytes"
            prefix = "total_"
        else:
            continue
        for root in roots:
            # in a container the path may be the host's, and the container's own group is at the root
            own = root / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(root):
                    yield from _left(folder, limit, usage, prefix)


def _left(folder: Path, limit: str, usage: str, prefix: str) -> Iterator[int]:
    try:
        most, used = (folder / limit).read_text().strip(), int((folder / usage).read_text())
    except (OSError, ValueError):
        return
    if most != "max":
        # pages of files are given back when memory is asked for
        files = (f"{prefix}inactive_file", f"{prefix}active_file")
        cached = sum(int(value) for name, value in _entries(folder / "memory.stat", separator=" ") if name in files)
        yield max(int(most) - used + cached, 0)


def _entries(file: Path, separator: str) -> Iterator[tuple[str, str]]:
    """(what is before the first separator, what is behind it) of each line; none where there is no file."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(separator)
        yield name.strip(), value.strip()
