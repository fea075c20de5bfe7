# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The runs of a study, read from their folders: scores, validation curves, cost and settings."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator, ScalarEvent

from benchmarks.study.methods import METHODS
from scdl_components.errors import InputError
from scdl_components.report.compare import Run, load_run
from scdl_components.report.table import summarize

PLACE = re.compile(r"(\d+)_labeled/([^/]+)/seed_(\d+)")
# what is meant to differ between two runs, beside the method's own keys
OF_ONE_RUN = ("seed", "ckpt_dir", "output_dir", "dataset_dir#output_dir")
NOT_SET = "the config's own value"

Curve = Mapping[int, float]


@dataclass(frozen=True)
class StudyRun:
    """A finished run.

    Attributes:
        num_labeled: labeled cases it was trained on.
        method: its name.
        seed: of the training.
        folder: of the run.
        evaluated: scores by case and organ, of its report.
        summary: statistics of these; of :py:func:`scdl_components.report.table.summarize`.
        curves: "mean" and "tail" -> {iteration: validation Dice}.
        seconds_per_iteration: median over the log's intervals, so that validation does not count; NaN for a log of one
            entry.
        done: what the runner wrote: cases, commit, own_keys, overrides, and of the training's last start seconds and peak_memory_mb.
    """

    num_labeled: int
    method: str
    seed: int
    folder: Path
    evaluated: Run
    summary: Mapping
    curves: Mapping[str, Curve]
    seconds_per_iteration: float
    done: Mapping

    def dice(self, group: str) -> float:
        """Mean Dice over the cases of head, tail or all organs; NaN where nothing is defined."""
        mean = self.summary["groups"][group]["metrics"]["dice"]["mean"]
        return float("nan") if mean is None else mean


Groups = Mapping[int, Mapping[str, Sequence[StudyRun]]]


def find_runs(folder: str | Path) -> tuple[Groups, list[str]]:
    """All finished runs of a study, and the names of those that are begun alone.

    Args:
        folder: of the study.

    Returns:
        Number of labeled cases -> method -> runs by seed, methods in the order of methods.py; and names.

    Raises:
        InputError: there is no finished run, or one that says it is finished cannot be read.
    """
    root = Path(folder)
    places = [PLACE.fullmatch(path.relative_to(root).as_posix()) for path in root.glob("*_labeled/*/seed_*")]
    found = [(int(match[1]), match[2], int(match[3])) for match in places if match]
    order = list(METHODS)
    found.sort(key=lambda run: (run[0], order.index(run[1]) if run[1] in order else len(order), run[1], run[2]))
    groups: dict[int, dict[str, list[StudyRun]]] = {}
    begun = []
    for num_labeled, method, seed in found:
        place = root / f"{num_labeled}_labeled" / method / f"seed_{seed}"
        if (place / "done.json").is_file():
            groups.setdefault(num_labeled, {}).setdefault(method, []).append(read_run(place, num_labeled, method, seed))
        else:
            begun.append(place.relative_to(root).as_posix())
    if not groups:
        raise InputError(
            f"'{folder}' holds no finished run (a folder <n>_labeled/<method>/seed_<seed> with done.json); name the "
            "folder that benchmarks.study.run wrote to, or wait for its first run"
        )
    return groups, begun


def read_run(folder: Path, num_labeled: int, method: str, seed: int) -> StudyRun:
    """Reads a finished run.

    Raises:
        InputError: its done.json, report or log cannot be read.
    """
    try:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        for key in ("cases", "overrides", "training"):
            done[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{folder}' says that it is finished, but cannot be read ({type(error).__name__}: {error}); delete it and "
            "run benchmarks.study.run again"
        ) from error
    evaluated = load_run(folder / "report", f"{method}, seed {seed}")
    summary = summarize(evaluated.tables[0], evaluated.num_tail)
    log = read_log(folder / "logs")
    tail = [f"val_dice/{organ}" for organ in summary["groups"]["tail"]["organs"]]
    curves = {"mean": mean_curve(log, ["val_mean_dice"]), "tail": mean_curve(log, tail)}
    cost = seconds_per_iteration(log["loss"])
    return StudyRun(num_labeled, method, seed, folder, evaluated, summary, curves, cost, done)


def read_log(folder: Path) -> dict[str, list[ScalarEvent]]:
    """All scalars of a TensorBoard folder: tag -> events.

    Raises:
        InputError: it holds no training.
    """
    log = {}
    if folder.is_dir():
        events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
        log = {tag: events.Scalars(tag) for tag in events.Reload().Tags()[SCALARS]}
    if "loss" not in log:
        raise InputError(f"'{folder}' holds no log of a training (TensorBoard events with 'loss'); run it again")
    return log


def mean_curve(log: Mapping[str, Sequence[ScalarEvent]], tags: Sequence[str]) -> dict[int, float]:
    """{iteration: mean over those tags that are defined then}."""
    values: dict[int, list[float]] = {}
    for tag in tags:
        for event in log.get(tag, ()):
            if not np.isnan(event.value):
                values.setdefault(event.step, []).append(event.value)
    return {step: float(np.mean(values[step])) for step in sorted(values)}


def seconds_per_iteration(events: Sequence[ScalarEvent]) -> float:
    """Median over the intervals between two entries; NaN for less than two."""
    steps = np.diff([event.step for event in events])
    seconds = np.diff([event.wall_time for event in events])
    return float(np.median(seconds / steps)) if len(steps) else float("nan")


def differing_settings(runs: Sequence[StudyRun]) -> list[str]:
    """Says which keys runs of as many labeled cases differ in beyond seed, places and the methods' own keys.

    A method's own key must be the same in all its runs, any other key in all runs.
    """
    own = {key for run in runs for key in run.done.get("own_keys", ())}
    values: dict[tuple, dict[str, None]] = {}
    for key in sorted({key for run in runs for key in run.done["overrides"]} - {*OF_ONE_RUN}):
        for run in runs:
            scope = (key, run.num_labeled, run.method if key in own else "all methods")
            values.setdefault(scope, {})[run.done["overrides"].get(key, NOT_SET)] = None
    return [
        f"`{key}` ({method}, {num_labeled} labeled): " + ", ".join(f"`{value}`" for value in found)
        for (key, num_labeled, method), found in values.items()
        if len(found) > 1
    ]
