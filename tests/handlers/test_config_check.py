# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
from pathlib import Path

from monai.bundle import ConfigWorkflow

from scdl_components.handlers.config_check import cases_are_given, changes, covered, training_settings


def test_an_id_covers_what_is_below_it_alone():
    assert covered("a#b#c", ["a#b"]) and covered("a", ["a"])
    assert not covered("ab", ["a"]) and not covered("a", ["a#b"])


def test_changes_are_named_with_both_values():
    before = {"rate": 0.1, "gone": 1, "same": 2, "sub#x": 1}
    now = {"rate": 0.2, "same": 2, "new": 3, "sub#x": 2}
    assert changes(before, now) == {
        "rate": "0.1 -> 0.2",
        "gone": "1 -> not there",
        "sub#x": "1 -> 2",
        "new": "not there -> 3",
    }
    assert {key for key in changes(before, now) if not covered(key, ["rate", "sub"])} == {"gone", "new"}
    assert changes(None, now) == changes(before, None) == {}


def test_changed_cases_are_told_by_what_came_and_went():
    before = [f"img{i}" for i in range(10)]
    assert changes({"c": before}, {"c": before[1:] + ["x"]})["c"] == "10 -> 10 entries; gone: ['img0']; new: ['x']"
    assert changes({"c": before}, {"c": before[::-1]})["c"] == "another order"


TEXT = """
imports: [$import json]
rate: 0.1
num_workers: 0
deep: {_target_: SimpleInferer}
train: {dataset: {data: "$[{'image': 'FOLDER/a.nii', 'label': 'FOLDER/b.nii'}]"}}
run_name:  # as all of FREE, not compared
  _target_: scdl_components.handlers.config_check.training_settings
  cases: {labeled: '@train#dataset#data'}
run: ["$json.dump(@run_name, open('FOLDER/out.json', 'w'))"]
"""


def run(folder: Path, **overrides: object) -> dict:
    """What the running config hands over as its settings."""
    (folder / "train.yaml").write_text(TEXT.replace("FOLDER", str(folder)))
    workflow = ConfigWorkflow(str(folder / "train.yaml"), meta_file=[], logging_file=False, **overrides)
    workflow.initialize()
    workflow.run()
    return json.loads((folder / "out.json").read_text())


def test_settings_are_the_config_as_given_and_the_cases(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"12345")
    digest = hashlib.sha256(b"12345").hexdigest()[:12]
    settings = run(tmp_path, rate=0.2)
    assert not cases_are_given(settings)
    assert settings.pop("train#dataset#data").startswith("$")
    assert settings == {
        "rate": 0.2,
        "deep#_target_": "SimpleInferer",
        "cases#labeled": [f"a.nii ({digest}) b.nii (unreadable)"],
    }


def test_a_file_of_the_same_size_and_time_is_another_case(tmp_path):
    """A corrected label in an uncompressed file: copied over, its time kept."""
    label = tmp_path / "b.nii"
    label.write_bytes(b"12345")
    os.utime(label, (1e9, 1e9))
    before = run(tmp_path)
    label.write_bytes(b"12346")
    os.utime(label, (1e9, 1e9))
    changed = changes(before, run(tmp_path))
    assert list(changed) == ["cases#labeled"] and "b.nii (" in changed["cases#labeled"]


def test_a_series_is_known_by_its_files_and_what_is_no_file_by_that(tmp_path):
    (tmp_path / "a.nii").mkdir()
    (tmp_path / "a.nii" / "1.dcm").write_bytes(b"1")
    os.mkfifo(tmp_path / "b.nii")
    before = run(tmp_path)
    assert before["cases#labeled"][0].endswith("b.nii (unreadable)")
    (tmp_path / "a.nii" / "1.dcm").write_bytes(b"2")
    assert list(changes(before, run(tmp_path))) == ["cases#labeled"]


def test_cases_that_are_put_into_the_config_are_told(tmp_path):
    """As MONAI Label does it."""
    settings = run(tmp_path, **{"train#dataset#data": [{"image": str(tmp_path / "a.nii")}]})
    assert cases_are_given(settings) and settings["cases#labeled"] == ["a.nii (unreadable)"]


def test_outside_of_the_runner_there_are_none():
    assert training_settings({"labeled": []}) is None
