# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a list through MONAI's runner, in both protocols."""

from __future__ import annotations

import csv
import json

import pytest
from support.runner import options, run_monai


@pytest.mark.parametrize("protocol, unit", [("clinical", "mm"), ("paper", "voxels")])
def test_report_of_the_test_cases(trained, phantoms, tmp_path, protocol, unit):
    configs = trained / "configs"
    words = options(dataset_dir=phantoms, case_list="case_list.json")
    training_only = {"--val_interval", "--max_iterations", "--log_interval"}
    scale = [w for key, value in zip(words[::2], words[1::2]) if key not in training_only for w in (key, value)]
    run_monai(
        *("run", "--config_file", f"['{configs / 'inference.yaml'}','{configs / 'evaluate.yaml'}']"),
        *("--cases", "test", "--protocol", protocol, "--output_dir", tmp_path / "seg"),
        *("--report_dir", tmp_path / "report", *scale),
        cwd=tmp_path,
    )
    report = {path.name for path in (tmp_path / "report").iterdir()}
    assert report >= {"metrics.csv", "summary.json", "report.md", "report.html", "by_organ.png", "dice_box.png"}
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["protocol"]["name"] == protocol and summary["protocol"]["unit"] == unit
    rows = list(csv.DictReader((tmp_path / "report" / "metrics.csv").open()))
    assert len(rows) == 13  # a test case, 13 organs, none dropped
    page = (tmp_path / "report" / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
