# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the parts one after the other, each in a process and a time of its own, and compares what they find with the goals.

    bash benchmarks/gpu/run.sh results wheels           # a bare machine with a GPU: nine minutes
    bash benchmarks/gpu/run.sh results wheels --toy     # a dry run of the same on a CPU

In ``results``: a CSV of each part, written while it runs, summary.md and log.txt.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire
import torch

from benchmarks.measure import ROOT, machine
from scdl_components.report.page import markdown_table

STUDY = {"scale": "cpu", "methods": "['cps_ga','scdl']", "seeds": "[0,1,2]", "jobs": 6}
STUDY |= {"max_iterations": 400, "val_interval": 200}
STUDY |= {"dataset_dir#num_unlabeled": 6, "dataset_dir#num_validation": 2, "dataset_dir#num_test": 4}
TOY_STUDY = {
    "max_iterations": 10,
    "val_interval": 10,
    "roi_size": "[16,16,16]",
    "num_filters": 2,
    "methods": "['scdl']",
    "seeds": "[0]",
}
TOY_STUDY |= {"dataset_dir#spacing": "[12,12,12]", "pixdim": "[12,12,12]"}
TOY_STUDY |= {f"dataset_dir#num_{name}": 1 for name in ("validation", "test")}
ROOM = 20  # seconds that a part needs to be worth a start


def parts(output: Path, work: Path, toy: bool) -> list[tuple[str, int, list[str]]]:
    """Name, most seconds, and command of each part, by worth; the study has what is left."""

    def words(module: str, *given: str, **keys: object) -> list[str]:
        options = [str(word) for key, value in keys.items() for word in (f"--{key}", value)]
        return [sys.executable, "-m", f"benchmarks.{module}", *given, *options]

    own = {"folder": work, "toy": toy}
    windows = {"roi_size": "[32,32,32]", "num_filters": 2, "repeats": 1, "threads": 1} if toy else {"repeats": 5}
    study = {"folder": work / "study", **STUDY, **(TOY_STUDY if toy else {})}
    return [
        ("correctness", 150, words("gpu.correctness", output=output / "correctness.csv", **own)),
        ("steps", 200, words("gpu.speed", "steps", output=output / "steps.csv", **own)),
        ("windows", 60, words("inference", "windows", output=output / "windows.csv", **windows)),
        ("memory", 100, words("gpu.speed", "memory", output=output / "memory.csv", **own)),
        ("study", 10**4, words("study.run", **study)),
        ("report", 30, words("study.report", folder=work / "study", baseline="cps_ga")),
    ]


def run(command: list[str], limit: float, log: Path) -> str:
    """Runs a command for at most so many seconds, its output behind that of the others; how it ended."""
    with log.open("a") as output:
        print(f"\n## {' '.join(command)}", file=output, flush=True)
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        try:
            status = process.wait(limit)
            return "done" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its loaders' workers, too
            process.wait()
            return f"stopped after {limit:.0f} s"


def rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV, as far as it is there."""
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []


def goals(output: Path) -> list[list[str]]:
    """What was measured, its goal, and whether it is reached, of what there is."""
    ratios = {row["what"]: row for name in ("windows", "steps") for row in reversed(rows(output / f"{name}.csv"))}
    checks = rows(output / "correctness.csv")
    good = sum(row["ok"] == "True" for row in checks)
    found = (
        [["correctness, rows within bounds", f"{good} of {len(checks)}", "all", good == len(checks)]] if checks else []
    )
    for what, name, low, high in (
        ("iteration, over the bare students", "iteration, over the bare students", 0, 1.15),
        ("SCDL, over the iteration", "scdl, over the iteration", 0, 0.05),
        ("published style's iteration, over ours", "plain, over the iteration", 2, float("inf")),
        ("published style's volume, over ours", "a plain loop, over the bundle with labels", 3, float("inf")),
    ):
        if name in ratios:
            ratio, goal = float(ratios[name]["ratio"]), f"≤ {high}" if low == 0 else f"≥ {low}"
            spread = f"{ratio:.3f} ({ratios[name]['lowest ratio']} to {ratios[name]['highest ratio']})"
            found.append([what, spread, goal, low <= ratio <= high])
    return [[*row, "reached" if reached else "**not reached**"] for *row, reached in found]


def summarize(output: Path, ended: dict[str, str]) -> None:
    """Writes summary.md: how each part ended, the goals, and the tables."""
    text = [f"# {machine()}", markdown_table(["part", "ended"], [list(item) for item in ended.items()])]
    text.append(markdown_table(["medians of one run", "measured", "goal", ""], goals(output)))
    for path in sorted(output.glob("*.csv")):
        found = rows(path)
        header = list(dict.fromkeys(key for row in found for key in row))
        text.append(f"## {path.stem}\n\n" + markdown_table(header, [[row[key] for key in header] for row in found]))
    (output / "summary.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


def main(output: str, seconds: float = 540, toy: bool = False) -> None:
    """Runs all parts.

    Args:
        output: folder of the results; an earlier run's are overwritten.
        seconds: for all together.
        toy: small, for a dry run.
    """
    end, place, ended = time.time() + seconds, Path(output).resolve(), {}
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, limit, command in parts(place, Path(folder), toy):
            start = time.time()
            left = end - start - (ROOM if name == "study" else 0)  # for its report
            if left < ROOM and name != "report":
                ended[name] = "no time left"
                continue
            how = run(command, max(ROOM, min(limit, left)), place / "log.txt")
            ended[name] = f"{how}, {time.time() - start:.0f} s"
            if name == "report" and (found := Path(folder) / "study" / "report" / "results.csv").is_file():
                shutil.copy(found, place / "study.csv")
            summarize(place, ended)
            print(f"{name}: {ended[name]}", flush=True)
    print((place / "summary.md").read_text(encoding="utf-8"))
    if not toy and not torch.cuda.is_available():
        sys.exit("no GPU was found: these are a CPU's figures")


if __name__ == "__main__":
    fire.Fire(main)
