# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from scdl_components.memory import free_memory
from scdl_components.memory.available import control_group_memory, machine_memory

GB = 10**9


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux alone tells")
def test_this_machine_has_some_left():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory("cpu") < total


def test_linux_tells_in_kilobytes(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  4096 kB\nMemFree:  16 kB\nMemAvailable:    2048 kB\n")
    assert list(machine_memory(tmp_path / "meminfo")) == [2048 * 1024]


def test_a_device_that_does_not_tell():
    assert free_memory("meta") is None


def test_elsewhere_nothing_is_known(tmp_path):
    assert list(machine_memory(tmp_path / "meminfo")) == []
    assert list(control_group_memory(tmp_path / "cgroup", tmp_path)) == []


def group(folder: Path, limit: str, used: str, stat: str = "", version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, content in zip((*names, "memory.stat"), (limit, used, stat)):
        (folder / name).write_text(content + "\n")


def left(tmp_path: Path, membership: str) -> list[int]:
    (tmp_path / "cgroup").write_text(membership + "\n")
    return sorted(control_group_memory(tmp_path / "cgroup", tmp_path / "fs"))


def test_version_2_counts_the_groups_above_and_gives_file_pages_back(tmp_path):
    fs = tmp_path / "fs"
    group(fs / "user" / "job", f"{8 * GB}", f"{3 * GB}", f"anon 5\ninactive_file {GB // 2}\nactive_file {GB // 2}")
    group(fs / "user", f"{7 * GB}", f"{5 * GB}")
    group(fs, "max", f"{9 * GB}")
    assert left(tmp_path, "0::/user/job") == [2 * GB, 6 * GB]


def test_version_1(tmp_path):
    group(tmp_path / "fs" / "memory" / "job", f"{8 * GB}", f"{3 * GB}", f"inactive_file 7\ntotal_inactive_file {GB}", 1)
    assert left(tmp_path, "5:cpu,cpuacct:/other\n4:memory:/job") == [6 * GB]


def test_a_container_has_its_own_group_at_the_root(tmp_path):
    group(tmp_path / "fs", f"{2 * GB}", f"{GB}")
    assert left(tmp_path, "0::/kubepods/pod1/abc") == [GB]


def test_more_used_than_allowed_leaves_nothing(tmp_path):
    group(tmp_path / "fs", f"{GB}", f"{2 * GB}")
    assert left(tmp_path, "0::/") == [0]
