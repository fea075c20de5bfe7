# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The input checks as a command: what sound cases hold, and faults of the list and the files in one report."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fire
import nibabel as nib
import numpy as np
import pytest
from support.runner import BUNDLES

from scdl_components.data.case_entries import LISTS
from scdl_components.errors import UserError
from scdl_components.phantom import write_phantoms
from scdl_components.tools import check

CONFIG = str(BUNDLES / "scdl_synapse" / "configs" / "train.yaml")
NUM_ORGANS = 13


def run_check(dataset_dir: Path, *args: object) -> subprocess.CompletedProcess:
    """The command as a user runs it."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "scdl_components", "check", "--config_file", CONFIG),
            *("--dataset_dir", str(dataset_dir), "--case_list", "list.json", *map(str, args)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Phantoms, a list of each kind among them, and a test case without label."""
    folder = tmp_path_factory.mktemp("sound") / "a folder"
    write_phantoms(folder, 4, 3, 2, 2, spacing=(6.0, 6.0, 6.0))
    lists = json.loads((folder / "case_list.json").read_text())
    lists = {name: [{key: str(folder / path) for key, path in item.items()} for item in lists[name]] for name in LISTS}
    del lists["test"][0]["label"]
    (folder / "list.json").write_text(json.dumps(lists))
    return folder


def test_sound_cases_raise_no_alarm_and_are_told_of(sound, capsys):
    with pytest.raises(SystemExit) as status:
        check.check(CONFIG, dataset_dir=str(sound), case_list="list.json")
    lines = capsys.readouterr().out.splitlines()
    assert status.value.code == 0 and lines[-1] == "0 error(s), 0 warning(s)", lines
    lists = json.loads((sound / "list.json").read_text())
    # the frequencies of the report, counted again from the files
    for name in ("labeled", "validation", "test"):
        labels = [np.asanyarray(nib.load(item["label"]).dataobj) for item in lists[name] if "label" in item]
        column = [title.split(" (")[0] for title in ("labeled", "validation", "test")].index(name) + 1
        for organ, value in (("spleen", 1), ("gallbladder", 4), ("left adrenal gland", 13)):
            cells = next(line for line in lines if line.startswith(f"| {organ} ")).strip("| ").split(" | ")
            share = sum(np.count_nonzero(label == value) for label in labels) / sum(label.size for label in labels)
            assert cells[column].strip() == f"{sum((label == value).any() for label in labels)}, {share:.4%}"


def test_faults_of_the_list_and_of_the_files_are_in_one_report(sound, tmp_path):
    """By the command; every kind of fault in a file is in data/test_check.py."""
    folder = tmp_path / "data"
    shutil.copytree(sound, folder)
    lists = json.loads((folder / "list.json").read_text().replace(str(sound), str(folder)))
    web_page, foreign, original = (lists[name][0] for name in ("unlabeled", "labeled", "validation"))
    Path(web_page["image"]).write_bytes(gzip.compress(b"<html>Please log in</html>" * 50))
    label = nib.load(foreign["label"])
    nib.save(nib.Nifti1Image(np.full(label.shape, NUM_ORGANS + 1, np.uint8), label.affine), foreign["label"])
    copy, shared, gone = lists["unlabeled"][1], lists["labeled"][1], lists["test"][1]
    shutil.copyfile(original["image"], copy["image"])
    os.remove(gone["image"])
    lists["unlabeled"] += [{"image": shared["image"]}, "0999"]
    (folder / "list.json").write_text(json.dumps(lists))

    result = run_check(folder)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stdout + result.stderr
    report = [line for line in result.stdout.splitlines() if line.startswith(("ERROR", "warning"))]
    expected = [
        f"case '{gone['image']}' has no file",
        f"case '{shared['image']}' is in labeled and in unlabeled",
        "case '0999' has no file",
        f"{web_page['image']}: is not a single-file",
        f"{foreign['label']}: has values 14 outside",
        f"{original['image']}: in 'validation' has the voxels of '{copy['image']}'",
    ]
    for text in expected:
        assert any(text in line for line in report), (text, result.stdout)
    named = [path for item in (gone, shared, web_page, foreign, original, copy) for path in item.values()]
    assert all(any(path in line for path in [*named, "0999"]) for line in report), result.stdout


@pytest.mark.parametrize(
    "args, expected",
    [
        (("--no_such_key", "1"), "there is no key 'no_such_key'"),
        (("--case_list", "absent"), "case list 'absent' cannot be used"),
        (("--dataset_dir", "/no/where", "--case_list", "published"), "no data: none of the 30 cases"),
        (("--dataset_dir", "$HOME"), "./ in front keeps it a path"),
        (("--dataset_dir", "1e3"), "dataset_dir is 1000.0 (float); expected a path"),
    ],
)
def test_what_cannot_be_checked_is_told(tmp_path, args, expected):
    with pytest.raises(UserError) as error:
        fire.Fire(check.check, ["--config_file", CONFIG, "--dataset_dir", str(tmp_path), *args])
    assert expected in str(error.value)
