# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The input checks as a command: 200 cases of every sound kind, and faults among them, all found and no more."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import fire
import nibabel as nib
import numpy as np
import pytest
from support.runner import BUNDLES

from scdl_components.errors import UserError
from scdl_components.tools import check

CONFIG = str(BUNDLES / "scdl_synapse" / "configs" / "train.yaml")
NUM = {"labeled": 50, "unlabeled": 100, "validation": 25, "test": 25}
NUM_ORGANS = 13
SHAPE = (28, 24, 16)


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


def voxels(number: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and label of a body in air with 13 organs, of which some cases lack a few; each case differs."""
    rng = np.random.default_rng(number)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij")
    image, label = np.full(SHAPE, -1000.0), np.zeros(SHAPE, np.uint8)
    body = x**2 + y**2 < 0.8
    image[body], image[body & (x**2 + y**2 > 0.6)] = 40, -100  # soft tissue in fat
    image[body & (y < -0.2) & (z < 0)] = -100  # and some fat inside
    image[(x**2 + (y - 0.5) ** 2) < 0.02] = 600  # spine
    for value in range(1, NUM_ORGANS + 1):
        if number % 11 == 5 and value in (4, 12, 13):
            continue
        corner = [rng.integers(length // 4, length * 3 // 4 - 2) for length in SHAPE]
        box = tuple(slice(start, start + rng.integers(2, 4)) for start in corner)
        label[box], image[box] = value, 50 + 8 * value
    return np.round(image + rng.normal(0, 12, SHAPE)).clip(-1024), label


def affine_of(number: int) -> np.ndarray:
    """Isotropic, anisotropic, in other orders and directions, oblique."""
    spacing = [(3, 3, 3), (0.7, 0.7, 5), (0.3, 0.3, 10), (2, 1.5, 0.6)][number % 4]
    axes = [np.eye(3), np.diag([-1, -1, 1]), np.eye(3)[[2, 0, 1]], -np.eye(3)[[1, 0, 2]]][number // 4 % 4]
    angle = 0.4 * (number % 3)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes @ np.diag(spacing)
    affine[:3, 3] = -150, 80.5, number
    return affine


def padded(image: np.ndarray, value: int) -> np.ndarray:
    image[:2] = value
    return image


def with_metal(image: np.ndarray, value: int) -> np.ndarray:
    image[14, 12, 5:9] = value
    return image


# what sound CTs are like, besides plain int16
SOUND_VALUES: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda image: image,
    lambda image: padded(image, -2048),
    lambda image: padded(image, -3024),
    lambda image: with_metal(image, 3071),
    lambda image: with_metal(image, 30000),
    lambda image: image[8:20, 8:16],  # a field of view within the body
    lambda image: image.clip(-125, 275),
]


def write_sound(item: Mapping[str, str], number: int) -> None:
    """A case as scanners and programs write them."""
    image, label = voxels(number)
    change = SOUND_VALUES[number % len(SOUND_VALUES)]
    if number % len(SOUND_VALUES) == 5:
        label = label[8:20, 8:16]
    image, affine = change(image), affine_of(number)
    form = number % 5
    header_class = nib.Nifti2Image if form == 3 else nib.Nifti1Image
    if form == 1:  # stored without a sign, with the rescaling in the header
        volume = header_class(image, affine)
        volume.header.set_data_dtype(np.uint16)
        nib.save(volume, item["image"])
        assert nib.load(item["image"]).dataobj.inter != 0
    else:
        dtype = [np.int16, None, np.float32, np.int16, np.float64][form]
        image = (image + 0.25 if form == 2 else image).astype(dtype)
        volume = header_class(image[..., None] if form == 4 else image, affine)
        if form == 0:  # both affines, as scanners' converters write them
            volume.set_sform(affine, 1)
            volume.set_qform(affine, 1)
        nib.save(volume, item["image"])
    if "label" in item:
        nib.save(nib.Nifti1Image(label.astype([np.uint8, np.int16, np.float32][number % 3]), affine), item["label"])


def sound_set(folder: Path) -> dict[str, list[dict[str, str]]]:
    """200 sound cases and their list; three of four files are compressed."""
    lists, number = {}, 0
    for name in ("img", "label"):
        (folder / name).mkdir(parents=True)
    for list_name, count in NUM.items():
        lists[list_name] = []
        for _ in range(count):
            suffix = ".nii" if number % 10 == 7 else ".nii.gz"
            item = {key: str(folder / d / f"{number:03d}{suffix}") for key, d in (("image", "img"), ("label", "label"))}
            if list_name == "unlabeled" or (list_name == "test" and number % 4 == 0):
                del item["label"]
            write_sound(item, number)
            lists[list_name].append(item)
            number += 1
    (folder / "list.json").write_text(json.dumps(lists))
    return lists


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "200 cases"
    sound_set(folder)
    return folder


def test_sound_cases_raise_no_alarm_and_are_told_of(sound, tmp_path, capsys):
    table = tmp_path / "new folder" / "cases.csv"
    with pytest.raises(SystemExit) as status:
        check.check(CONFIG, str(table), dataset_dir=str(sound), case_list="list.json")
    lines = capsys.readouterr().out.splitlines()
    assert status.value.code == 0 and lines[-1] == "0 error(s), 0 warning(s)", lines
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == 200 and all(row["problems"] == "0" and row["spacing_mm"] for row in rows)
    lists = json.loads((sound / "list.json").read_text())
    assert [row["image"] for row in rows] == [item["image"] for items in lists.values() for item in items]
    # the frequencies of the report, counted again from the files
    for name in ("labeled", "validation", "test"):
        labels = [np.asanyarray(nib.load(item["label"]).dataobj) for item in lists[name] if "label" in item]
        column = [title.split(" (")[0] for title in ("labeled", "validation", "test")].index(name) + 1
        for organ, value in (("spleen", 1), ("gallbladder", 4), ("left adrenal gland", 13)):
            cells = next(line for line in lines if line.startswith(f"| {organ} ")).strip("| ").split(" | ")
            share = sum(np.count_nonzero(label == value) for label in labels) / sum(label.size for label in labels)
            assert cells[column].strip() == f"{sum((label == value).any() for label in labels)}, {share:.4%}"
        of_list = [row for row in rows if row["list"] == name and row["label"]]
        assert [int(row["spleen"]) for row in of_list] == [np.count_nonzero(label == 1) for label in labels]
    assert [row["spleen"] for row in rows if row["list"] == "unlabeled"] == [""] * NUM["unlabeled"]


def test_faults_of_the_list_and_of_the_files_are_in_one_report(sound, tmp_path):
    """By the command; every kind of fault in a file is in data/test_check.py."""
    folder = tmp_path / "data"
    shutil.copytree(sound, folder)
    lists = json.loads((folder / "list.json").read_text().replace(str(sound), str(folder)))
    web_page, foreign, original = (lists[name][8] for name in ("unlabeled", "labeled", "validation"))
    Path(web_page["image"]).write_bytes(gzip.compress(b"<html>Please log in</html>" * 50))
    label = nib.load(foreign["label"])
    nib.save(nib.Nifti1Image(np.full(label.shape, NUM_ORGANS + 1, np.uint8), label.affine), foreign["label"])
    copy, shared, gone = lists["unlabeled"][9], lists["labeled"][9], lists["test"][9]
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
