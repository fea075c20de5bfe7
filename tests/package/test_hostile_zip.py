# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Zips that try to write elsewhere, unpacked by our own command."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scdl_components import __version__

ROOT = Path(__file__).parents[2]


def link_to(target: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("scdl_synapse/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def hostile(path: Path, kind: str, outside: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scdl_synapse/LICENSE", "text")
        if kind == "link":
            archive.writestr(link_to(str(outside)), str(outside))
            archive.writestr("scdl_synapse/link/written.txt", "outside")
        else:
            name = {"parent": "../outside/written.txt", "absolute": str(outside / "written.txt")}[kind]
            archive.writestr(name, "outside")


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_nothing_is_written_outside(tmp_path, kind, record_property):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "unpacked"
    target.mkdir()
    repository = tmp_path / "repository"
    for folder in ("scripts", "scdl_components"):
        shutil.copytree(ROOT / folder, repository / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "dist").mkdir()
    for name in ("scdl_synapse", "scdl_amos"):
        hostile(repository / "dist" / f"{name}_v{__version__}.zip", kind, outside)
    words = [sys.executable, ROOT / "scripts" / "package.py", "zoo", "--root", repository, "--output", target]
    result = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert result.returncode != 0 and "Traceback" not in result.stderr, result.stderr
    assert "is not what make package builds" in result.stderr
    assert list(outside.iterdir()) == []
    record_property("hostile zips", 3)
