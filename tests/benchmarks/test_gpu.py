# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU's measurements: a dry run of all on the CPU as docs/gpus.md has it, time limits, goals."""

import csv
import os
import re
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.correctness import drawn_on_the_cpu
from benchmarks.gpu.run import goals, run
from benchmarks.measure import write_csv

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs" / "gpus.md").read_text(encoding="utf-8").split("## Measured in ten minutes")[1].split("\n## ")[0]
)
DOWNLOAD, *RUNS = (
    shlex.split(command.replace("\\\n", ""))
    for command in re.search(r"```bash\n(.*?)```", SECTION, re.S)[1].split("\n\n")
)


def a_wheel(folder: Path) -> None:
    """A package that nothing needs, for pip to install."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "nothing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nothing.py", "")
        wheel.writestr("nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        wheel.writestr("nothing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("nothing-1.0.dist-info/RECORD", "")


@pytest.mark.slow
def test_dry_run_of_all_parts(tmp_path):
    (command,) = (words for words in RUNS if "--toy" in words)
    a_wheel(tmp_path / "wheels")
    words = [str(tmp_path / word) if word in ("results", "wheels") else word for word in command]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PATH": path})
    log = tmp_path / "results" / "log.txt"
    assert found.returncode == 0, found.stdout + found.stderr
    summary = (tmp_path / "results" / "summary.md").read_text()
    for part in ("correctness", "steps", "windows", "memory", "study", "report"):
        assert re.search(rf"\| {part} +\| +done, ", summary), summary + log.read_text()[-3000:]
    checks = list(csv.DictReader((tmp_path / "results" / "correctness.csv").open()))
    assert [row["ok"] for row in checks] == ["True"] * 4
    assert summary.count("reached") == 5  # each goal was looked at
    files = sorted(file.name for file in (tmp_path / "results").iterdir())
    tables = ["correctness.csv", "kernels.csv", "memory.csv", "steps.csv", "study.csv", "windows.csv"]
    assert files == sorted([*tables, "log.txt", "summary.md"])


def test_documented_wheels_are_those_that_the_tests_ran_with():
    names = DOWNLOAD[DOWNLOAD.index("--dest") + 2 :]
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    assert DOWNLOAD[:4] == ["python3", "-m", "pip", "download"] and {"monai", "nibabel"} <= set(names) <= set(pinned)


def test_a_part_is_stopped_with_its_workers_when_its_time_is_up(tmp_path):
    worker = f"import pathlib, time; time.sleep(3); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {worker!r}]); time.sleep(60)"
    start = time.time()
    assert run([sys.executable, "-c", code], 1, tmp_path / "log.txt") == "stopped after 1 s"
    time.sleep(max(0, start + 4.5 - time.time()))
    assert not (tmp_path / "late").exists()
    assert run([sys.executable, "-c", "raise SystemExit(3)"], 20, tmp_path / "log.txt") == "failed with status 3"


def test_goals_are_judged_by_the_first_variant_and_as_far_as_there_are_figures(tmp_path):
    assert goals(tmp_path) == []

    def ratios(what: str, ratio: float) -> dict[str, object]:
        return {"what": what, "ratio": ratio, "lowest ratio": ratio - 0.1, "highest ratio": ratio + 0.1}

    steps = [ratios("iteration, over the bare students", 1.1), ratios("plain, over the iteration", 1.9)]
    write_csv([*steps, ratios("iteration, over the bare students", 1.4)], tmp_path / "steps.csv")
    write_csv([{"ok": "True"}, {"ok": "False"}], tmp_path / "correctness.csv")
    assert goals(tmp_path) == [
        ["correctness, rows within bounds", "1 of 2", "all", "**not reached**"],
        ["iteration, over the bare students", "1.100 (1.0 to 1.2000000000000002)", "≤ 1.15", "reached"],
        ["published style's iteration, over ours", "1.900 (1.7999999999999998 to 2.0)", "≥ 2", "**not reached**"],
    ]


def test_random_numbers_are_the_cpus_on_every_device():
    def draws(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        numbers = torch.empty(4, device=device).normal_(), torch.empty(4, device=device, dtype=torch.int64)
        found = [numbers[0], numbers[1].random_(-(2**63), None), torch.rand(4, device=device)]
        return [*found, torch.randn_like(numbers[0]), torch.get_rng_state()]

    expected = draws("cpu")
    with drawn_on_the_cpu():
        torch.testing.assert_close(draws("cpu"), expected, rtol=0, atol=0)
        *found, state = draws("meta")
    assert all(values.is_meta for values in found) and torch.equal(state, expected[-1])
    assert not torch.equal(draws("meta")[-1], state)
