# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The phantom: the same on every machine, anatomically in order, hard to threshold, complete on disk or not there."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scdl_components.errors import InputError
from scdl_components.phantom import AMOS_ORGANS, SYNAPSE_ORGANS, phantom_case, write_phantoms

ROOT = Path(__file__).parents[2]
COARSE = (10.0, 10.0, 10.0)
WORKING = (4.0, 4.0, 5.0)


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


@pytest.fixture(scope="module")
def working_cases() -> list[tuple[nib.Nifti1Image, nib.Nifti1Image]]:
    return [phantom_case(0, (0, i), SYNAPSE_ORGANS, WORKING) for i in range(12)]


def write(folder: Path, **kwargs) -> Path:
    counts = {"num_labeled": 1, "num_unlabeled": 1, "num_validation": 1, "num_test": 1}
    return Path(write_phantoms(folder, **{**counts, "spacing": COARSE, **kwargs}))


@pytest.mark.parametrize(
    "seed, case, organs, digests",
    [
        (0, (0, 0), AMOS_ORGANS, ["1a0d63b87e95e20c", "2c5f5e0823d9daad"]),
        (3, (0, 1), SYNAPSE_ORGANS, ["a5115567dc3d9d63", "724b53786c65fb41"]),
    ],
)
def test_voxels_are_those_of_this_version_of_the_generator(seed, case, organs, digests):
    """Whoever changes the voxels raises write.VERSION, and these figures with it."""
    found = phantom_case(seed, case, organs, COARSE)
    assert [hashlib.sha256(voxels(volume).tobytes()).hexdigest()[:16] for volume in found] == digests


def test_a_case_does_not_depend_on_how_many_there_are(tmp_path):
    small, large = write(tmp_path / "small"), write(tmp_path / "large", num_labeled=2, num_unlabeled=3, num_test=2)
    lists = [json.loads((folder / "case_list.json").read_text()) for folder in (small, large)]
    assert [len(lists[1][split]) for split in ("labeled", "unlabeled", "validation", "test")] == [2, 3, 1, 2]
    # the second training case is unlabeled in one and labeled in the other
    pairs = [(lists[0][split][0]["image"], lists[1][split][0]["image"]) for split in ("labeled", "validation", "test")]
    pairs.append((lists[0]["unlabeled"][0]["image"], lists[1]["labeled"][1]["image"]))
    for a, b in pairs:
        assert np.array_equal(voxels(nib.load(small / a)), voxels(nib.load(large / b)))


def test_layout_and_headers(tmp_path):
    folder = write(tmp_path / "phantom", num_labeled=4, num_unlabeled=4)
    cases = json.loads((folder / "case_list.json").read_text())
    assert cases["labeled"][0] == {"image": "img/img0001.nii.gz", "label": "label/label0001.nii.gz"}
    assert all(set(case) == {"image"} for case in cases["unlabeled"])
    assert all(set(case) == {"image", "label"} for case in cases["validation"] + cases["test"])
    orientations, spacings, shapes = set(), set(), set()
    for number in range(1, 11):
        image = nib.load(folder / f"img/img{number:04d}.nii.gz")
        label = nib.load(folder / f"label/label{number:04d}.nii.gz")
        assert image.get_data_dtype() == np.int16 and label.get_data_dtype() == np.uint8
        assert image.shape == label.shape and np.array_equal(image.affine, label.affine)
        assert image.header["qform_code"] == 1 and image.header["sform_code"] == 1
        assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-3) and np.abs(image.affine[:3, 3]).min() > 0
        values = voxels(image)
        assert values.min() >= -1024 and values[0, 0].mean() < -900 and 200 < values.max() < 1500
        orientations.add(nib.aff2axcodes(image.affine))
        spacings.add(tuple(np.round(image.header.get_zooms(), 3)))
        shapes.add(image.shape)
    assert {("R", "A", "S"), ("L", "P", "S")} <= orientations
    assert len(spacings) == 10 and len(shapes) > 5 and all(x == y != z for x, y, z in spacings)
    assert all(9.0 <= x <= 11.5 and 8.0 <= z <= 13.0 for x, _, z in spacings)


def test_organs_lie_where_they_do_in_a_patient(working_cases):
    for _, label in working_cases:
        middle = {}
        for value, organ in enumerate(SYNAPSE_ORGANS, start=1):
            found = np.argwhere(voxels(label) == value)
            if len(found):
                middle[organ] = nib.affines.apply_affine(label.affine, found.mean(axis=0))
        x = {organ: at[0] for organ, at in middle.items()}
        # in nibabel's RAS+ a larger x is further to the patient's right
        assert x["liver"] > x["inferior vena cava"] > x["aorta"] > x["stomach"]
        assert x["right adrenal gland"] > x["inferior vena cava"] and x["aorta"] > x["left adrenal gland"]
        if {"right kidney", "left kidney"} <= set(middle):
            assert x["right kidney"] - x["left kidney"] > 100
        if "spleen" in middle:
            assert x["liver"] - x["spleen"] > 130
        assert middle["stomach"][1] > middle["aorta"][1] and middle["esophagus"][2] > middle["pancreas"][2]
        assert middle["liver"][1] > middle["right adrenal gland"][1]


def test_organs_present_at_working_spacing(working_cases):
    for organs, labels in (
        (SYNAPSE_ORGANS, [label for _, label in working_cases]),
        (AMOS_ORGANS, [phantom_case(0, (0, i), AMOS_ORGANS, WORKING)[1] for i in range(6)]),
    ):
        counts = np.array([np.bincount(voxels(label).ravel(), minlength=len(organs) + 1) for label in labels])
        assert counts.shape[1] == len(organs) + 1  # no value beyond the table
        removable = {"gallbladder", "spleen", "right kidney", "left kidney", "prostate/uterus"}
        for value, organ in enumerate(organs, start=1):
            there = counts[:, value] > 0
            assert there.sum() > len(labels) / 2 if organ in removable else there.all(), organ
            assert counts[there, value].min() >= 15, organ


def test_more_variation_is_patients_that_differ_more_and_noisier_scanners():
    def spread(variation: float) -> tuple[float, float]:
        """Of the way from liver to left kidney, mm; and the liver's noise, HU."""
        ways, noise = [], []
        for case in range(8):
            image, label = phantom_case(0, (0, case), ("left kidney", "liver"), WORKING, variation)
            kidney, liver = (np.argwhere(voxels(label) == value).mean(axis=0) for value in (1, 2))
            ways.append(label.affine[:3, :3] @ (kidney - liver))
            noise.append(voxels(image)[voxels(label) == 2].std())
        return float(np.std(ways, axis=0).mean()), float(np.mean(noise))

    (adults, quiet), (wider, noisy) = spread(1.0), spread(3.0)
    assert wider > 1.5 * adults and noisy > 1.3 * quiet


def test_organs_outside_the_table_are_drawn_but_not_labeled():
    grids = [phantom_case(0, (0, 0), organs, COARSE) for organs in (SYNAPSE_ORGANS, ("liver", "aorta"))]
    known = [voxels(nib.as_closest_canonical(label)) for _, label in grids]
    assert set(np.unique(known[1])) == {0, 1, 2}
    for value, organ in ((1, "liver"), (2, "aorta")):
        assert (known[0] == SYNAPSE_ORGANS.index(organ) + 1).sum() == pytest.approx((known[1] == value).sum(), rel=0.1)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_threshold_is_not_enough(working_cases, balanced):
    """The best classifier of single intensities: class histograms of three cases, applied to others."""

    def binned(case):
        return np.clip((voxels(case[0]).astype(int).ravel() + 125) // 8, 0, 50), voxels(case[1]).ravel()

    histogram = np.zeros((51, len(SYNAPSE_ORGANS) + 1))
    for case in working_cases[:3]:
        np.add.at(histogram, binned(case), 1)
    decision = (histogram / histogram.sum(axis=0) if balanced else histogram).argmax(axis=1)
    dice = []
    for case in working_cases[3:8]:
        intensity, label = binned(case)
        prediction = decision[intensity]
        dice.append(
            [
                2 * ((prediction == c) & (label == c)).sum() / ((prediction == c).sum() + (label == c).sum())
                if (label == c).any() else np.nan
                for c in range(1, len(SYNAPSE_ORGANS) + 1)
            ]
        )  # fmt: skip
    by_organ = dict(zip(SYNAPSE_ORGANS, np.nanmean(dice, axis=0)))
    assert np.nanmean(dice) < 0.12
    assert by_organ["liver"] < 0.75
    for organ in ("right adrenal gland", "left adrenal gland", "esophagus", "gallbladder", "portal and splenic veins"):
        assert by_organ[organ] < 0.1, organ


def test_a_complete_data_set_is_kept_and_other_parameters_are_refused(tmp_path):
    (tmp_path / "deep" / "phantom").mkdir(parents=True)  # an empty folder is fine
    folder = write(tmp_path / "deep" / "phantom")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write(folder) == folder and [path.name for path in folder.parent.iterdir()] == ["phantom"]
    with pytest.raises(InputError, match="'seed': 0.*'seed': 1.*another "):
        write(folder, seed=1)
    with pytest.raises(InputError, match="'num_test': 1.*'num_test': 2"):
        write(folder, num_test=2)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"phantom": 3}'])
def test_a_folder_of_something_else_is_left_alone(tmp_path, content):
    (tmp_path / "scan.nii.gz").write_bytes(b"somebody's")
    if content is not None:
        (tmp_path / "case_list.json").write_text(content)
    with pytest.raises(InputError, match="left alone"):
        write(tmp_path)
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"organs": ["spleen", "Liver"]}, r"organs is \['spleen', 'Liver'\].*right adrenal gland"),
        ({"organs": ["spleen", "spleen"]}, "each only once"),
        ({"spacing": (4, 4)}, "spacing"),
        ({"spacing": (4, 4, 0)}, "spacing"),
        ({"num_test": -1}, "num_test is -1"),
        ({"variation": 0.5}, "variation is 0.5; give a number from 1 to 4"),
        ({"num_labeled": 0, "num_unlabeled": 0, "num_validation": 0, "num_test": 0}, "at least one case"),
    ],
)
def test_bad_arguments(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "phantom", **kwargs)
    assert not (tmp_path / "phantom").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_data_set(tmp_path, how):
    folder = tmp_path / "phantom"
    counts = ["--num_labeled", "500", "--num_unlabeled", "0", "--num_validation", "0", "--num_test", "0"]
    command = [sys.executable, "-m", "scdl_components", "phantom", "--output_dir", str(folder), *counts]
    # a job that a shell put into the background ignores SIGINT, and its children inherit that
    answer_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=answer_sigint)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".phantom.unfinished-*/label/*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
        process.wait()
    assert not folder.exists()
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []
    write(folder)
    assert (folder / "case_list.json").is_file()
