# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The study's command, run as one starts it, with trainings of one iteration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.study.run import check_same, keys_of, main
from scdl_components.errors import InputError
from scdl_components.phantom import write_phantoms

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
    cps_ga = {"scdl": False}
    methods = ("--methods", str({"cps_ga": cps_ga, "lighter": {"scdl": True, "scdl_weight": 0.5}}), "--seeds", "[0]")
    tiny = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    study("benchmarks.study.run", "--folder", str(tmp_path), "--jobs", "2", *methods, *tiny)
    finished, interrupted = (tmp_path / "2_labeled" / method / "seed_0" for method in ("cps_ga", "lighter"))
    kept = (finished / "models" / "model.pt").stat().st_mtime_ns
    done = json.loads((interrupted / "done.json").read_text())
    assert done["overrides"]["scdl_weight"] == "0.5" and done["overrides"]["max_iterations"] == "12"
    assert len(list((interrupted / "segmentations").rglob("*_seg.nii.gz"))) == 2
    (interrupted / "done.json").unlink()
    (interrupted / "models" / "checkpoint_14.pt").unlink()
    study("benchmarks.study.run", "--folder", str(tmp_path), *methods, *tiny)
    assert (finished / "models" / "model.pt").stat().st_mtime_ns == kept
    assert (interrupted / "done.json").is_file()
    assert "the training goes on at iteration 12" in (interrupted / "train.log").read_text()
    assert "report of 2 runs, 0 begun alone" in study("benchmarks.study.report", "--folder", str(tmp_path))
    rows = (tmp_path / "report" / "results.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:]] == [["2", "cps_ga", "0"], ["2", "lighter", "0"]]
    curves = (tmp_path / "report" / "curves.csv").read_text().splitlines()
    expected = [[method, "0", step] for method in ("cps_ga", "lighter") for step in ("6", "12")]
    assert [row.split(",")[1:4] for row in curves[1:]] == expected


@pytest.mark.slow
def test_a_dataset_of_the_users_is_named_and_counted_by_its_list(tmp_path):
    lists = Path(write_phantoms(tmp_path / "data", 3, 3, 1, 2, seed=5, spacing=(12, 12, 12))) / "case_list.json"
    lists.rename(tmp_path / "mine.json")
    tiny = [word for key, value in TINY.items() if "dataset" not in key for word in (f"--{key}", str(value))]
    grid = ("--folder", str(tmp_path / "study"), "--methods", "['cps_ga','scdl']", "--seeds", "[0]")
    data = ("--dataset_dir", str(tmp_path / "data"), "--case_list", str(tmp_path / "mine.json"))
    study("benchmarks.study.run", *grid, *data, *tiny)
    done = json.loads((tmp_path / "study" / "3_labeled" / "scdl" / "seed_0" / "done.json").read_text())
    assert not [key for key in done["overrides"] if key.startswith("dataset_dir#")]
    study("benchmarks.study.report", "--folder", str(tmp_path / "study"))
    assert "## Dice, 3 labeled cases" in (tmp_path / "study" / "report" / "report.md").read_text()
    picture = ("--output", str(tmp_path / "organ.png"), "--num_labeled", "3")
    study("benchmarks.study.picture", "--folder", str(tmp_path / "study"), *picture)
    assert (tmp_path / "organ.png").is_file()


def test_segmentation_has_of_a_training_s_keys_those_that_it_knows():
    keys = {"num_filters": 8, "scdl": True, "train#checkpoint#n_saved": 20, "feature_module": "block_two"}
    keys |= {"proxy_bank#in_channels": 16, "dataset_dir#seed": 1, "learning_rate": 0.1, "student": {}}
    known = ["num_filters", "dataset_dir#seed", "student"]
    assert list(keys_of(["inference", "evaluate", "phantom"], keys)) == known
    of_priors = {"scdl", "feature_module", "proxy_bank#in_channels"}
    assert set(keys_of(["inference", "evaluate", "priors", "phantom"], keys)) == {*known, *of_priors}


def test_a_finished_run_with_other_keys_is_not_taken_for_the_one_asked_for(tmp_path):
    done = {"overrides": {"roi_size": "[32, 32, 32]", "ckpt_dir": "elsewhere"}, "cases": "test"}
    (tmp_path / "done.json").write_text(json.dumps(done))
    check_same(tmp_path, {"roi_size": "[32, 32, 32]", "ckpt_dir": "here"}, "test")
    with pytest.raises(InputError, match="with other keys: cases, dataset_dir, roi_size. Give another --folder"):
        check_same(tmp_path, {"dataset_dir": "/data/btcv", "roi_size": "[96, 96, 96]"}, "validation")


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"dataset_dir": "data", "num_labeled": [2]}, "are those of its case list"),
        ({"dataset_dir": "data", "case_list": "none.json"}, "case list 'none.json' cannot be used"),
        ({"methods": ["sdcl"]}, "unknown.*sdcl.*scdl"),
        ({"scale": "tpu"}, "unknown: tpu.*scales"),
    ],
)
def test_a_grid_that_cannot_run_is_refused_before_the_first_training(tmp_path, keys, message):
    with pytest.raises(InputError, match=message):
        main(str(tmp_path), **keys)
