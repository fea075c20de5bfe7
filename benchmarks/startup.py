# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds from the command to the end of the first iteration: without a cache folder, filling it, with it.

    python -m benchmarks.startup --folder startup

The user's command in a process of its own each time, the three in turn, with a network so small that its iteration
takes no time.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import fire
from ignite.engine import Engine, Events

from benchmarks.measure import figures, machine, measured, monai_run, show
from scdl_components.phantom import write_phantoms

WAYS = ("no cache folder", "cache folder, empty", "cache folder, filled")
SMALL = {"num_filters": 2, "roi_size": [32, 32, 32], "voxels_per_token": 4, "num_workers": 0}


class EndAfterFirstIteration:
    """Ends the process, before a validation could."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: os._exit(0))


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
    place = Path(folder or tempfile.mkdtemp()).absolute()
    data = write_phantoms(place / "phantom", labeled, unlabeled, 2, 0, spacing=tuple(spacing))
    cache, work = place / "cache", place / "run"
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    end = place / "end.json"  # a config behind train.yaml
    end.write_text(json.dumps({"+train#handlers": [{"_target_": "benchmarks.startup.EndAfterFirstIteration"}]}))
    for _ in range(repeats):
        shutil.rmtree(cache, ignore_errors=True)
        for way in WAYS:
            work.mkdir()
            keys = {"dataset_dir": data, "case_list": "case_list.json", "ckpt_dir": work, "output_dir": work, **SMALL}
            keys |= {"cache_dir": False if way == "no cache folder" else cache, **overrides}
            times[way].append(measured(monai_run(["train", end], "training", **keys), place / "run.log")["seconds"])
            shutil.rmtree(work)
            print(way, round(times[way][-1], 1), flush=True)
    shutil.rmtree(cache if folder else place, ignore_errors=True)
    print(f"{labeled} labeled, {unlabeled} unlabeled cases, {machine()}; {repeats} starts of each kind")
    show([figures(f"{way}, over no cache folder", times[way], times["no cache folder"]) for way in WAYS], output)


if __name__ == "__main__":
    fire.Fire(main)
