# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The study's command, run as one starts it, with trainings of one iteration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = {
    "dataset_dir#spacing": [12, 12, 12],
    "dataset_dir#num_validation": 1,
    "dataset_dir#num_test": 2,
    "pixdim": [12, 12, 12],
    "roi_size": [16, 16, 16],
    "num_filters": 2,
    "max_iterations": 12,  # the log has one entry after ten
    "val_interval": 6,
}


def study(module: str, *words: str) -> str:
    run = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_grid_is_run_gone_on_with_and_reported(tmp_path):
    methods = ("--methods", "['cps_ga','scdl']", "--seeds", "[0]")
    tiny = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    study("benchmarks.study.run", "--folder", str(tmp_path), *methods, *tiny)
    finished, interrupted = (tmp_path / "2_labeled" / method / "seed_0" for method in ("cps_ga", "scdl"))
    kept = (finished / "models" / "model.pt").stat().st_mtime_ns
    done = json.loads((interrupted / "done.json").read_text())
    assert done["method"] == "scdl" and done["overrides"]["max_iterations"] == "12"
    assert len(list((interrupted / "segmentations").rglob("*_seg.nii.gz"))) == 2
    (interrupted / "done.json").unlink()
    (interrupted / "train.log").write_text("cut off")
    study("benchmarks.study.run", "--folder", str(tmp_path), *methods, *tiny)
    assert (finished / "models" / "model.pt").stat().st_mtime_ns == kept
    assert (interrupted / "done.json").is_file() and "cut off" not in (interrupted / "train.log").read_text()
    output = study(
        "benchmarks.study.report", "--folder", str(tmp_path), "--output", str(tmp_path / "results"), *methods
    )
    assert "report of 2 runs, 0 missing" in output
    rows = (tmp_path / "results" / "results.csv").read_text().splitlines()
    assert [row.split(",")[:4] for row in rows[1:]] == [["2", "cps_ga", "0", "finished"], ["2", "scdl", "0", "finished"]]
    shown = tmp_path / "gradients.md"
    study("benchmarks.study.gradients", "--runs", f"['{interrupted}']", "--iteration", "12", "--output", str(shown))
    norms = dict(line.strip("| ").split(" | ") for line in shown.read_text().splitlines() if line.startswith("| s"))
    assert float(norms["supervised/ga_ce"]) > 0 and float(norms["scdl/separation"]) > 0 and "scdl/sac" not in norms
