# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The commands, links and figures of docs/results.md, speed.md and history.md; the commands as they stand there, at a scale of seconds."""

import csv
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.study.methods import MAIN, METHODS

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("results", "speed", "history")}
TEXT = "\n".join(PAGES.values())
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
SMALL = "--roi_size [16,16,16] --num_filters 2 --threads 1"
TINY = "--pixdim [12,12,12] --roi_size [16,16,16] --num_filters 2 --max_iterations 10 --val_interval 10"
PHANTOMS = "--dataset_dir#spacing [12,12,12] --dataset_dir#num_test 2 --dataset_dir#num_validation 1"
# words of a command -> what makes it a matter of seconds
TOY = {
    "benchmarks.study.run": f"{TINY} {PHANTOMS}",
    "benchmarks.step_time": f"{SMALL} --spacing 8 --pairs 1",
    "benchmarks.inference memory": "--shape [48,48,30] --spacing [6.0,6.0,8.0] --num_classes [2] --num_filters 2 "
    "--roi_size [32,32,32]",
    "benchmarks.inference windows": f"{SMALL} --repeats 1",
    "benchmarks.startup": "--labeled 2 --unlabeled 2 --spacing [8.0,8.0,8.0] --pixdim [8.0,8.0,8.0] --repeats 1",
    "benchmarks.real_ct": "--max_iterations 2",
    "benchmarks.study.report": "",
    "benchmarks.study.picture": "",
    "benchmarks.study.guard": f"{TINY} {PHANTOMS} --margin 1",
}


def at_toy_scale(command: str, folder: Path) -> list[str]:
    """Its words with folders of its own and the small values in place of its own, and one seed."""
    (name,) = (name for name in TOY if f"-m {name}" in command)
    words = shlex.split(command.replace("\\$", "$"))[1:]  # as bash reads it
    for option, value in zip(*[iter(shlex.split(TOY[name]))] * 2):
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    places = [w for w in ("--folder", "--output") if w in words]
    for option in places:
        words[words.index(option) + 1] = str(folder / words[words.index(option) + 1])
    if name == "benchmarks.real_ct":
        words += ["--output", str(folder / "real_ct")]
    if name == "benchmarks.study.run":
        words[words.index("--seeds") + 1] = "[0]"
        words += [] if "--methods" in words else ["--methods", str(list(MAIN))]
        place = words.index("--methods") + 1
        if words[place].startswith("[") and "study/long" not in command:
            words[place] = str(re.findall(r"'(\w+)'", words[place])[-1:])
    return words


def run(command: str, folder: Path) -> None:
    found = subprocess.run([sys.executable, *at_toy_scale(command, folder)], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]


def test_every_command_is_one_that_is_run_here():
    assert all(sum(f"-m {name}" in command for name in TOY) == 1 for command in COMMANDS)
    assert all(any(f"-m {name}" in command for command in COMMANDS) for name in TOY)
    named = re.findall(r"'(\w+)'", " ".join(re.findall(r"--methods \"(\[.*?\])\"", TEXT)))
    assert named and set(named) <= set(METHODS)
    inline = re.findall(r"`(python -m .*?)`", TEXT.replace("\n", " "))
    assert all(re.match(r"python -m benchmarks\.[a-z_.]+$", command) for command in inline)


@pytest.mark.slow
def test_commands_of_the_study_run_in_their_order(tmp_path):
    """Of each command the last method; of the one that is reported and drawn both."""
    for command in COMMANDS:
        if "benchmarks.study" in command:
            run(command, tmp_path)
    assert "## Validation, 2 labeled cases" in (tmp_path / "study" / "long" / "report" / "report.md").read_text()
    assert (tmp_path / "organ.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if "benchmarks.study" not in command])
def test_commands_run(command, tmp_path):
    run(command, tmp_path)


def test_links_lead_to_files_and_all_figures_are_linked():
    links = {ROOT / "docs" / link for link in re.findall(r"\]\(([^)#]+)\)", TEXT)}
    assert not [link for link in links if not link.exists()]
    linked = {link.resolve() for link in links}
    assert not [path.name for path in (ROOT / "benchmarks" / "results").glob("*.csv") if path not in linked]
    assert not list((ROOT / "benchmarks").rglob("*.png")) and not list((ROOT / "benchmarks").rglob("*.md"))


@pytest.mark.parametrize("number, name", [(1, "first"), (2, "second"), (3, "third")])
@pytest.mark.parametrize("heading, column", [("| tail | first", "tail_dice"), ("| mean | first", "mean_dice")])
def test_tables_are_those_of_the_raw_figures(number, name, heading, column):
    rows = list(csv.DictReader((ROOT / "benchmarks" / "results" / f"study_{name}.csv").open()))
    cells = [line.split("|")[1 + number].strip() for line in PAGES["history"].split(heading)[1].splitlines()[2:6]]
    for method, cell in zip(("supervised", "cps_ga", "scdl_published", "scdl"), cells):
        values = [float(row[column]) for row in rows if (row["num_labeled"], row["method"]) == ("2", method)]
        mean, deviation = (float(word) for word in cell.split(" ± "))
        assert len(values) == 3 and mean == pytest.approx(statistics.mean(values), abs=0.0006)
        assert deviation == pytest.approx(statistics.stdev(values), abs=0.0006)


def test_the_table_of_the_readme_is_that_of_the_raw_figures():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tuning, reported = (
        list(csv.DictReader((ROOT / "benchmarks/results" / f"{n}.csv").open())) for n in ("room", "reported")
    )
    last = {(r["method"], r["seed"]): r for r in tuning if (r["num_labeled"], r["iteration"]) == ("8", "6000")}
    host = "CPS with Dice and cross entropy"
    for line, name, method in (
        ("cross pseudo", host, "cps"),
        ("with SCDL", f"{host} with SCDL (classes kept apart; weight 0.1)", "cps_scdl"),
    ):
        cells = text.split("| after 6,000 iterations |")[1].split(f"| {line}")[1].splitlines()[0].split("|")[1:5]
        found = [last[f"{name}, learning rate 0.1", seed] for seed in ("100", "101")]
        expected = [[float(row["mean_dice"]), float(row["tail_dice"])] for row in found]
        for seed in ("12", "13"):
            cases = [row for row in reported if (row["method"], row["seed"]) == (method, seed)]
            assert len(cases) == 20
            expected.append([mean_of_cases(cases, list(cases[0])[5:]), mean_of_cases(cases, TAIL)])
        for cell, values in zip(cells, expected, strict=True):
            assert [float(value) for value in cell.split("/")] == pytest.approx(values, abs=0.0006)


TAIL = ["gallbladder", "portal_and_splenic_veins", "esophagus", "left_adrenal_gland", "right_adrenal_gland"]


def mean_of_cases(cases: list[dict[str, str]], organs: list[str]) -> float:
    return statistics.mean(statistics.mean(float(case[organ]) for organ in organs if case[organ]) for case in cases)


def test_files_that_stand_behind_the_promises_of_reliability_are_there():
    table = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").split("## Not promised")[0]
    files = re.findall(r"`((?:\w+/)*test_\w+\.py)`", table)
    assert len(files) > 10 and not [file for file in files if not (ROOT / "tests" / file).is_file()]
