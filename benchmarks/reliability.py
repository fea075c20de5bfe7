# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is promised of training and of bad files, tested by breaking things; writes the table of docs/reliability.md.

    python -m benchmarks.reliability
    python -m benchmarks.reliability --only "Several processes"

Runs the tests that stand behind each promise, slow ones included (half an hour on two cores), and notes the figures that
they record. A promise whose test fails, or did not run, is shown so.
"""

from __future__ import annotations

import base64
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import fire

from scdl_components.errors import InputError

ROOT = Path(__file__).parents[1]
HEAD = "| promised | tested by | last run |\n| --- | --- | --- |"
# what is promised -> the tests behind it: files, or single functions
PROMISES: Mapping[str, Sequence[str]] = {
    "Killed at any moment, while a checkpoint is written too, training resumes to bit-identical weights and the same log "
    "(CPU, fixed seed)": ["tests/bundles/test_survival.py::test_twenty_kills_change_nothing"],
    "SIGTERM and Ctrl-C save first; the exit status is 143 or 130": [
        "tests/bundles/test_survival.py::test_a_signal_saves_first_and_training_goes_on_from_there",
        "tests/bundles/test_survival.py::test_a_validation_that_was_cut_short_is_made_up_for",
    ],
    "Full disk, read-only folder: a clear message, and what was saved before is intact": [
        "tests/bundles/test_survival.py::test_a_full_disk_leaves_what_was_saved",
        "tests/bundles/test_survival.py::test_a_folder_that_cannot_be_written_to_is_told_before_training",
        "tests/test_atomic.py",
    ],
    "A damaged newest checkpoint is reported and the one before is used": [
        "tests/bundles/test_survival.py::test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used",
        "tests/handlers/test_resume.py",
    ],
    "An unfinished training of the same configuration is gone on with; a changed one is named key by key and refused": [
        "tests/handlers/test_resume.py",
        "tests/handlers/test_config_check.py",
        "tests/handlers/test_checkpoint.py",
    ],
    "Several processes (docs/gpus.md): the weights of one, ten iterations long in float64; a killed process ends the "
    "others, and training resumes to bit-identical weights": [
        "tests/test_distributed.py",
        "tests/bundles/test_multi_process.py",
    ],
    "NaN or infinity in losses or gradients: the files are named, the step is undone and counted, too many in a row end "
    "training with a report": [
        "tests/handlers/test_finite.py",
        "tests/bundles/test_survival.py::test_a_training_that_blows_up_is_ended_with_a_report",
    ],
    "A file that vanishes while training is named, counted and left out where unlabelled, an error where labelled; a "
    "loader worker that dies ends training with a message, never a hang, and the same command goes on": [
        "tests/data/test_faults.py",
        "tests/bundles/test_survival.py::test_a_file_that_vanishes_while_training",
        "tests/bundles/test_survival.py::test_a_worker_that_is_killed",
    ],
    "The input check finds each planted fault and raises no false alarm": [
        "tests/data/test_check_command.py",
        "tests/data/test_check.py",
    ],
    "Weights that are a malicious pickle are refused; headers that announce terabytes take no memory": [
        "tests/bundles/test_inference.py::test_a_pickle_that_runs_code_is_refused",
        "tests/data/test_hostile.py::test_dicom_that_announces_too_much_is_refused_from_its_headers",
        "tests/data/test_check.py::test_bomb",
        "tests/data/test_check.py::test_limits",
    ],
    "Zips with `..`, absolute names or links are refused by what unpacks them": ["tests/package/test_hostile_zip.py"],
    "Names with spaces, quotes, `$`, `@`, `%`, `#` and letters of any script work": [
        "tests/data/test_hostile.py::test_training_and_inference_with_names_of_any_characters",
        "tests/data/test_hostile.py::test_what_the_config_language_did_to_a_path_is_undone",
    ],
    "Any bytes as case list, NIfTI or DICOM give facts or a reason, never a crash (hypothesis)": [
        "tests/data/test_hostile.py::test_any_json_is_a_sound_list_or_refused_by_name",
        "tests/data/test_hostile.py::test_any_bytes_are_a_sound_list_or_refused_by_name",
        "tests/data/test_hostile.py::test_damaged_nifti_gives_facts_or_a_reason",
        "tests/data/test_hostile.py::test_damaged_dicom_gives_facts_or_a_reason",
    ],
    "Tokens, losses, transforms and their inversion hold for shapes, class counts, spacings and orientations at random "
    "(hypothesis)": ["tests/test_fuzz.py"],
}


@dataclass
class Result:
    """What a pytest run said of some tests."""

    passed: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    figures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{self.passed} passed" + "".join(
            f", **{number} {name}**" for number, name in ((self.skipped, "skipped"), (self.failed, "failed")) if number
        )
        figures = "".join(f"; {name} {value}" for name, value in self.figures.items())
        return f"{counts if self.passed + self.skipped + self.failed else '**not run**'}, {self.seconds:.0f} s{figures}"


def run_tests(tests: Sequence[str]) -> Result:
    """Runs tests in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = [sys.executable, "-m", "pytest", "-q", "-n0", f"--junitxml={report}", "-m", "slow or not slow", *tests]
        subprocess.run(words, cwd=ROOT, check=False)
        return read_report(report) if report.is_file() else Result()


def read_report(path: Path) -> Result:
    """Counts, seconds and recorded figures of pytest's JUnit file."""
    result, root = Result(), ElementTree.parse(path).getroot()
    for case in root.iter("testcase"):
        result.seconds += float(case.get("time", 0))
        bad = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        result.failed += bad
        result.skipped += skipped
        result.passed += not bad and not skipped
    drawn = 0
    for item in root.iter("property"):
        name, value = item.get("name"), item.get("value")
        if name.startswith("hypothesis-statistics"):  # text, in base64
            counts = re.findall(r"(\d+) passing", base64.b64decode(value).decode())
            drawn += sum(map(int, counts))
        else:
            result.figures[name] = value
    if drawn:
        result.figures["inputs drawn"] = str(drawn)
    return result


def main(only: str = "", document: str = "docs/reliability.md") -> None:
    """Runs the tests and replaces their rows of the table in the document.

    Args:
        only: words of a promise; other promises' rows stay as they are.
        document: Markdown that holds the table.

    Raises:
        InputError: when no promise has these words.
    """
    chosen = [promise for promise in PROMISES if only in promise]
    if not chosen:
        raise InputError(f"--only {only!r}: no promise has these words; they are {list(PROMISES)}")
    path = ROOT / document
    before, _, rest = path.read_text(encoding="utf-8").partition(HEAD)
    table, _, after = rest.partition("\n\n")
    rows = {promise: row for row in table.splitlines() for promise in PROMISES if row.startswith(f"| {promise} |")}
    for promise in chosen:
        tests = PROMISES[promise]
        where = ", ".join(f"`{name.removeprefix('tests/')}`" for name in dict.fromkeys(t.split("::")[0] for t in tests))
        rows[promise] = f"| {promise} | {where} | {run_tests(tests)} |"
        print(rows[promise], flush=True)
    machine = f"Python {platform.python_version()}, {platform.system()}, seconds of the tests' own clocks."
    after = after if after.startswith(machine) else f"{machine}\n\n{after}"
    lines = [HEAD, *(rows[promise] for promise in PROMISES if promise in rows)]
    path.write_text(before + "\n".join(lines) + "\n\n" + after, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
