# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from benchmarks.study.methods import METHODS
from benchmarks.study.report import fall, report
from scdl_components.errors import InputError
from scdl_components.metrics import Protocol
from scdl_components.report.evaluate import Evaluation

ROOT = Path(__file__).parents[2]
CLASSES = ["background", "liver", "spleen", "gallbladder", "adrenal gland"]
# boxes, moved along x: where they begin, and how long, wide and high they are
BOXES = {1: ((2, 2, 2), (8, 8, 8)), 2: ((2, 12, 2), (8, 4, 8)), 3: ((14, 2, 4), (4, 4, 4)), 4: ((14, 12, 4), (2, 2, 2))}
# steps of the gallbladder (4 long) and of the adrenal gland (2 long) in the three cases, so that Dice is
# 1 - step / 4 and 1 - step / 2; liver and spleen are right
STEPS = {
    ("cps_ga", 0): ((1, 1), (1, 1), (1, 1)),  # tail (0.75 + 0.5) / 2 in each case
    ("cps_ga", 1): ((2, 1), (2, 1), (2, 1)),  # tail (0.5 + 0.5) / 2
    ("scdl", 0): ((0, 0), (0, 2), (0, 1)),  # tail (1 + 1) / 2, (1 + 0) / 2, (1 + 0.5) / 2
    ("scdl", 1): ((0, 0), (0, 0), (0, 0)),
}
VALIDATION = {0: {20: 0.25, 40: 0.5}, 1: {20: 0.75, 40: 0.5}}  # seed 1 falls
TAIL = {("cps_ga", 0): 0.625, ("cps_ga", 1): 0.5, ("scdl", 0): 0.75, ("scdl", 1): 1.0, ("supervised", 0): 0.0}


def volume(steps=(0, 0)) -> np.ndarray:
    """Class indices with gallbladder and adrenal gland moved."""
    voxels = np.zeros((24, 20, 16), dtype=np.uint8)
    for value, ((x, y, z), (length, width, height)) in BOXES.items():
        x += {3: steps[0], 4: steps[1]}.get(value, 0)
        voxels[x : x + length, y : y + width, z : z + height] = value
    return voxels


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.5, 1.0])), path)


def write_run(study: Path, method: str, seed: int, predictions: list[np.ndarray]) -> None:
    """A run as the runner leaves it, with the real writers of its report and its log."""
    folder = study / "2_labeled" / method / f"seed_{seed}"
    cases = json.loads((study / "phantoms_2_labeled" / "case_list.json").read_text())["test"]
    items = [{key: str(study / "phantoms_2_labeled" / path) for key, path in case.items()} for case in cases]
    for number, voxels in enumerate(predictions):
        save(folder / "segmentations" / f"case{number}_seg.nii.gz", voxels)
        labels = {"labels": {str(value): organ for value, organ in enumerate(CLASSES)}}
        (folder / "segmentations" / f"case{number}_seg.json").write_text(json.dumps(labels))
    made = str(folder / "segmentations"), CLASSES, str(folder / "report"), Protocol("clinical", 2.0)
    Evaluation(items, *made, num_tail=2).run()
    with SummaryWriter(str(folder / "logs")) as writer:
        # 2 s an iteration with seed 0, 3 s with seed 1, and a validation of 100 s behind iteration 20
        for step, clock in ((10, 0), (20, 20), (30, 140), (40, 160)):
            writer.add_scalar("loss", 1.0, step, walltime=1000 + clock * (1 + seed / 2))
        for step, dice in VALIDATION[seed].items():
            writer.add_scalar("val_mean_dice", dice, step)
            for place, organ in enumerate(CLASSES[1:]):  # tail: (2 + 3) / 32 more
                writer.add_scalar(f"val_dice/{organ}", dice + place / 16, step)
    overrides = {**METHODS[method], "seed": seed, "max_iterations": 40, "ckpt_dir": folder / "models"}
    done = {"seed": seed, "num_labeled": 2, "cases": "test", "commit": "abc1234", "own_keys": list(METHODS[method])}
    done["training"] = {"seconds": 240.0, "peak_memory_mb": 900.0 + seed}
    done["overrides"] = {key: str(value) for key, value in overrides.items()}
    (folder / "done.json").write_text(json.dumps(done))


@pytest.fixture(scope="module")
def whole_study(tmp_path_factory) -> Path:
    """Two methods, two seeds, and a run beyond that grid that found none of the small organs and of the others."""
    study = tmp_path_factory.mktemp("study")
    cases = [{"image": f"img/case{n}.nii.gz", "label": f"label/case{n}.nii.gz"} for n in range(3)]
    for case in cases:
        save(study / "phantoms_2_labeled" / case["label"], volume())
        save(study / "phantoms_2_labeled" / case["image"], volume().astype(np.int16) * 40 - 100)
    (study / "phantoms_2_labeled" / "case_list.json").write_text(json.dumps({"test": cases}))
    for (method, seed), steps in STEPS.items():
        write_run(study, method, seed, [volume(step) for step in steps])
    write_run(study, "supervised", 0, [np.zeros_like(volume())] * 3)
    return study


@pytest.fixture
def study(whole_study, tmp_path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(whole_study, tmp_path / "study"))


@pytest.fixture
def make(tmp_path):
    """Writes the report; its text and the rows of results.csv."""

    def run(study: Path, **options) -> tuple[str, dict[tuple[str, int], dict[str, str]]]:
        output = tmp_path / "results"
        report(str(study), str(output), **options)
        rows = list(csv.DictReader((output / "results.csv").open()))
        return (output / "report.md").read_text(), {(row["method"], int(row["seed"])): row for row in rows}

    return run


def table(text: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: first cell -> other cells."""
    lines = text.split(heading, 1)[1].split("\n| ", 1)[1].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_figures_are_those_computed_by_hand(whole_study, make, tmp_path):
    text, rows = make(whole_study)
    assert set(rows) == set(TAIL)
    for (method, seed), tail in TAIL.items():
        row, head = rows[method, seed], float(method != "supervised")
        found = [float(row[name]) for name in ("head_dice", "tail_dice", "mean_dice")]
        assert found == pytest.approx([head, tail, (head + tail) / 2])
        cost = [float(row[name]) for name in ("seconds_per_iteration", "peak_memory_mb")]
        assert cost == pytest.approx([2 + seed, 900 + seed])
        assert row["commit"] == "abc1234" and row["num_labeled"] == "2"
    # 0.625 and 0.5: mean 0.5625, deviation 0.125 / sqrt(2)
    dice = table(text, "## Dice, 2")
    assert dice["cps_ga"][:3] == ["0.781 ± 0.044 (2)", "1.000 ± 0.000 (2)", "0.562 ± 0.088 (2)"]
    assert dice["scdl"][3:] == ["2.500 ± 0.707 (2)", "900 ± 1 (2)"]
    # one seed has no spread
    assert dice["supervised"] == ["0.000 (1)"] * 3 + ["2.000 (1)", "900 (1)"]
    organs = list(csv.DictReader((tmp_path / "results" / "organs.csv").open()))
    # a voxel is 10 mm³
    gallbladder = [row for row in organs if row["organ"] == "gallbladder" and row["method"] == "cps_ga"]
    assert [(row["seed"], float(row["dice"])) for row in gallbladder] == [("0", 0.75), ("1", 0.5)]
    assert gallbladder[0]["group"] == "tail"
    assert float(gallbladder[0]["size_ml"]) == pytest.approx(0.64)
    assert "differ in more than method" not in text and "not finished" not in text


def test_differences_are_paired_by_case_and_shown_by_seed(whole_study, make, tmp_path):
    text, _ = make(whole_study)
    lines = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    found = {(pair, organs): cells for pair, organs, *cells in lines if "minus" in pair}
    # by case: seed 0 +0.375, -0.125, +0.125, seed 1 +0.5. A quarter of the resamples is of seed 1 alone, a quarter of seed 0
    # alone: of those 1 in 27 draws -0.125 three times, which is below 2.5 %, and 3 in 27 twice beside +0.125
    change = found["scdl minus cps_ga", "tail"]
    assert change == ["0.562", "0.875", "+0.312 [-0.042, +0.500]", "0: +0.125, 1: +0.500"]
    assert found["scdl minus cps_ga", "head"][3] == "0: +0.000, 1: +0.000"
    # a pair is of the seeds that both have
    assert found["supervised minus cps_ga", "tail"][:2] == ["0.625", "0.000"]
    assert found["supervised minus cps_ga", "tail"][3] == "0: -0.625"
    rows = list(csv.DictReader((tmp_path / "results" / "comparison_2_labeled" / "comparison.csv").open()))
    adrenal = [row for row in rows if (row["second"], row["name"], row["metric"]) == ("scdl", "adrenal gland", "dice")]
    assert [float(row["difference"]) for row in adrenal] == [0.25]
    assert "scdl minus supervised" in make(whole_study, baseline="supervised")[0]


def test_runs_that_are_begun_alone_are_named_and_left_out(study, make):
    (study / "2_labeled" / "scdl" / "seed_1" / "done.json").unlink()
    text, rows = make(study)
    assert "Begun, not finished: 2_labeled/scdl/seed_1." in text and len(rows) == 4
    assert table(text, "## Dice, 2")["scdl"][2] == "0.750 (1)"


def test_a_run_that_gets_worse_when_trained_longer_shows_in_the_table_of_validations(whole_study, make, tmp_path):
    text, _ = make(whole_study)
    curves = table(text, "## Validation, 2")
    assert curves["run"] == ["20", "40", "fall"]
    assert curves["scdl, seed 0"] == ["0.250 / 0.406", "0.500 / 0.656", "none"]
    assert curves["scdl, seed 1"] == ["0.750 / 0.906", "0.500 / 0.656", "**−0.250** since 20"]
    assert fall({1: 0.5, 2: 0.485}) == "none" and fall({}) == "–"
    rows = list(csv.DictReader((tmp_path / "results" / "curves.csv").open()))
    of_run = [row for row in rows if (row["method"], row["seed"]) == ("scdl", "1")]
    assert [(row["iteration"], float(row["mean_dice"]), float(row["tail_dice"])) for row in of_run] == [
        ("20", 0.75, 0.90625),
        ("40", 0.5, 0.65625),
    ]
    drawn = matplotlib.image.imread(tmp_path / "results" / "learning_curves.png")
    assert drawn[..., :3].std() > 0.02


def test_runs_with_other_settings_are_pointed_out(study, make):
    path = study / "2_labeled" / "scdl" / "seed_1" / "done.json"
    done = json.loads(path.read_text())
    done["overrides"] |= {"max_iterations": "80", "scdl_weight": "0.1"}
    path.write_text(json.dumps(done))
    path = study / "2_labeled" / "cps_ga" / "seed_1" / "done.json"
    path.write_text(path.read_text().replace('"scdl": "False"', '"scdl": "True"'))
    text = make(study)[0].split("## Runs that differ in more than method and seed")[1]
    assert "- `max_iterations` (all methods, 2 labeled): `40`, `80`\n" in text
    assert "- `scdl_weight` (all methods, 2 labeled): `the config's own value`, `0.1`\n" in text
    assert "- `scdl` (cps_ga, 2 labeled): `False`, `True`\n" in text


def test_study_that_cannot_be_read(study, tmp_path, make):
    with pytest.raises(InputError, match="holds no finished run"):
        make(tmp_path / "nowhere")
    shutil.rmtree(study / "2_labeled" / "scdl" / "seed_0" / "logs")
    with pytest.raises(InputError, match="seed_0/logs' holds no log of a training"):
        make(study)
    (study / "2_labeled" / "scdl" / "seed_0" / "done.json").write_text("{}")
    with pytest.raises(InputError, match="says that it is finished, but cannot be read"):
        make(study)


def test_picture_from_the_command_line_is_of_the_median_case(whole_study, tmp_path):
    words = ["--folder", str(whole_study), "--output", str(tmp_path / "organ.png"), "--methods", "['cps_ga','scdl']"]
    words = [sys.executable, "-m", "benchmarks.study.picture", *words]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    # seed 0, adrenal gland: +0.5, -0.5 and 0 in the cases
    assert "The adrenal gland of case2: Dice 0.500 with cps_ga, 0.500 with scdl." in found.stdout
    assert "the smallest organ (adrenal gland)" in found.stdout and "(0)" in found.stdout
    assert matplotlib.image.imread(tmp_path / "organ.png").size
