# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds from the command to the end of the first iteration: without a cache folder, filling it, with it.

    python -m benchmarks.startup --folder startup

The user's command in a process of its own each time, the three in turn, with a network so small that its iteration
takes no time. A further config notes when each of the config's ``steps`` is over and ends the process after the
first iteration.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import fire
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from benchmarks.measure import CONFIGS, figures, machine, measured, monai_run, show

STAMPS = "STARTUP_STAMPS"
WAYS = {"no cache folder": None, "cache folder, empty": "cold", "cache folder, filled": "warm"}
SMALL = {"num_filters": 2, "roi_size": [32, 32, 32], "voxels_per_token": 4, "num_workers": 0}
# looked up before the last step, which trains: all preprocessed cases
DATASETS = ["@train#dataset", "@train#unlabeled_dataset", "@validate#dataset"]


def stamp(name: str) -> None:
    """Notes that a part is over now."""
    with open(os.environ[STAMPS], "a", encoding="utf-8") as file:
        file.write(json.dumps([name, time.time()]) + "\n")


class EndAfterFirstIteration:
    """Notes the end of the last part and ends the process."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        stamp("networks, losses, first iteration")
        os._exit(0)


def overlay() -> dict:
    """Config behind train.yaml: the same run, with stamps between its steps."""
    stamped: list = [{"_target_": "benchmarks.startup.stamp", "name": "imports, config"}]
    steps = ConfigParser.load_config_file(str(CONFIGS / "train.yaml"))["steps"]
    for step in steps[:-1]:
        name = step["_target_"].split(".")[-1] if isinstance(step, dict) else step.strip("$@")
        stamped += [step, {"_target_": "benchmarks.startup.stamp", "name": name}]
    stamped += [*DATASETS, {"_target_": "benchmarks.startup.stamp", "name": "preprocessed cases"}, steps[-1]]
    return {"steps": stamped, "+train#handlers": [{"_target_": "benchmarks.startup.EndAfterFirstIteration"}]}


def start(data: Path, folder: Path, cache_dir: Path | None, overrides: dict[str, object]) -> dict[str, float]:
    """Seconds of each part of one start."""
    work = Path(tempfile.mkdtemp(dir=folder))
    (work / "overlay.json").write_text(json.dumps(overlay()))
    keys = {"dataset_dir": data, "case_list": "case_list.json", "cache_dir": cache_dir or False, **SMALL}
    keys |= {"ckpt_dir": work, "output_dir": work, **overrides}
    begun = time.time()
    command = monai_run(["train", work / "overlay.json"], "training", **keys)
    measured(command, work / "run.log", **{STAMPS: str(work / "stamps")})
    lines = [json.loads(line) for line in (work / "stamps").read_text().splitlines()]
    shutil.rmtree(work)
    times = [begun, *(moment for _, moment in lines)]
    return {name: end - begin for (name, _), begin, end in zip(lines, times, times[1:])}


def main(
    folder: str = "",
    repeats: int = 3,
    labeled: int = 5,
    unlabeled: int = 33,
    spacing: tuple[float, float, float] = (1.5, 1.5, 2.0),
    output: str = "",
    **overrides: object,
) -> None:
    """Measures and prints a table.

    Args:
        folder: where the phantoms are, or are written (minutes); default: a temporary one.
        repeats: starts of each kind.
        labeled: cases.
        unlabeled: cases; two more are for validation.
        spacing: of the phantoms, mm.
        output: CSV to write the table to.
        overrides: keys of the training's config.
    """
    from scdl_components.phantom import write_phantoms  # not in the processes that are timed

    place = Path(folder or tempfile.mkdtemp()).absolute()
    data = Path(write_phantoms(place / "phantom", labeled, unlabeled, 2, 0, spacing=tuple(spacing)))
    cache = place / "cache"
    times: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        shutil.rmtree(cache, ignore_errors=True)
        for way, state in WAYS.items():
            times[way].append(start(data, place, cache if state else None, overrides))
            print(way, {name: round(value, 1) for name, value in times[way][-1].items()}, flush=True)
    shutil.rmtree(cache if folder else place, ignore_errors=True)
    wholes = {way: [sum(one.values()) for one in starts] for way, starts in times.items()}
    rows = []
    for way, starts in times.items():
        rows += [figures(f"{way}: whole, over no cache folder", wholes[way], wholes["no cache folder"])]
        rows += [figures(f"{way}, of it: {part}", [one[part] for one in starts]) for part in starts[0]]
    print(f"{labeled} labeled, {unlabeled} unlabeled cases, {machine()}; {repeats} starts of each kind")
    show(rows, output)


if __name__ == "__main__":
    fire.Fire(main)
