# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The runs of a study, read from their folders: scores, learning curves, cost and settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator, ScalarEvent

from benchmarks.study.run import GRID, own_data
from scdl_components.errors import InputError
from scdl_components.report.compare import Run, load_run
from scdl_components.report.summary import summarize

PLACE = re.compile(r"(\d+)_labeled/([^/]+)/seed_(\d+)")
# what is meant to differ between two runs, beside the method's own keys
OF_ONE_RUN = ("seed", "ckpt_dir", "output_dir", "dataset_dir#output_dir")

NOT_SET = "the config's own value"


@dataclass(frozen=True)
class StudyRun:
    """A finished run.

    Attributes:
        num_labeled: labelled cases it was trained on.
        method: its name.
        seed: of the training.
        folder: of the run.
        cases: name of the list that it was evaluated on.
        evaluated: scores by case and organ, of its report.
        summary: statistics of these; of :py:func:`scdl_components.report.summary.summarize`.
        made_with: versions of what made the scores.
        curves: "mean" and "tail" -> {iteration: validation Dice}.
        seconds_per_iteration: median over the log's intervals, so that validation does not count; NaN for a log of one
            entry.
        training_minutes: wall time of the whole training, start and validation included.
        peak_memory_mb: peak resident memory of the training process.
        overrides: keys of the configs that it was trained with.
        commit: of the code and the configs that these keys stand on.
    """

    num_labeled: int
    method: str
    seed: int
    folder: Path
    cases: str
    evaluated: Run
    summary: Mapping
    made_with: Mapping[str, str]
    curves: Mapping[str, Mapping[int, float]]
    seconds_per_iteration: float
    training_minutes: float
    peak_memory_mb: float
    overrides: Mapping[str, str]
    commit: str

    @property
    def of_phantoms(self) -> bool:
        """Whether it was trained on phantoms, not on a dataset of the user's."""
        return not own_data(self.overrides)

    @property
    def name(self) -> str:
        """Its folder within the study."""
        return place(self.num_labeled, self.method, self.seed)

    def dice(self, group: str) -> float:
        """Mean Dice over the cases of head, tail or all organs; NaN where nothing is defined."""
        mean = self.summary["groups"][group]["metrics"]["dice"]["mean"]
        return float("nan") if mean is None else mean


def place(num_labeled: int, method: str, seed: int) -> str:
    """Folder of a run within the study."""
    return f"{num_labeled}_labeled/{method}/seed_{seed}"


def find_runs(
    folder: str | Path, methods: Sequence[str], seeds: Sequence[int], num_labeled: Sequence[int] | None
) -> tuple[list[StudyRun], dict[str, str]]:
    """The runs of a grid, and whatever other runs there are in the folder.

    Args:
        folder: of the study.
        methods: of the grid; of the runner, as are the next two.
        seeds: of the grid.
        num_labeled: of the grid; None: all that have a folder.

    Returns:
        The finished runs by number of labelled cases, method and seed, and {name: what is wrong} of all others.

    Raises:
        InputError: there is no finished run, or one that says it is finished cannot be read.
    """
    root = Path(folder)
    found = [PLACE.fullmatch(path.relative_to(root).as_posix()) for path in root.glob("*_labeled/*/seed_*")]
    others = [(int(match[1]), match[2], int(match[3])) for match in found if match]
    num_labeled = num_labeled or {number for number, _, _ in others}
    order = list(dict.fromkeys([*methods, *GRID, *sorted(method for _, method, _ in others)]))
    wanted = {*product(num_labeled, methods, seeds), *others}
    wanted = sorted(wanted, key=lambda run: (run[0], order.index(run[1]), run[2]))
    runs, missing = [], {}
    for each in wanted:
        path = root / place(*each)
        if (path / "done.json").is_file():
            runs.append(read_run(path, *each))
        else:
            missing[place(*each)] = "begun, not finished" if path.is_dir() else "not begun"
    if not runs:
        raise InputError(
            f"'{folder}' holds no finished run (a folder <n>_labeled/<method>/seed_<seed> with done.json); name the "
            "folder that benchmarks.study.run wrote to, or wait for its first run"
        )
    return runs, missing


def read_run(folder: Path, num_labeled: int, method: str, seed: int) -> StudyRun:
    """One finished run.

    Raises:
        InputError: its done.json, report or log cannot be read.
    """
    try:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / "report" / "summary.json").read_text(encoding="utf-8"))
        training, overrides, cases = done["training"], done["overrides"], done["cases"]
        minutes, memory = training["seconds"] / 60, training["peak_memory_mb"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{folder}' says that it is finished, but cannot be read ({type(error).__name__}: {error}); delete it and "
            "run benchmarks.study.run again"
        ) from error
    evaluated = load_run(folder / "report", f"{method}, seed {seed}")
    summarized = summarize(evaluated.table, evaluated.num_tail)
    log = read_log(folder / "logs")
    tail = [f"val_dice/{organ}" for organ in summarized["groups"]["tail"]["organs"]]
    curves = {"mean": mean_curve(log, ["val_mean_dice"]), "tail": mean_curve(log, tail)}
    cost = seconds_per_iteration(log["loss"]), minutes, memory
    versions = summary.get("versions", {})
    commit = done.get("commit") or "not known"
    return StudyRun(
        num_labeled, method, seed, folder, cases, evaluated, summarized, versions, curves, *cost, overrides, commit
    )


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


def settings(runs: Sequence[StudyRun]) -> tuple[dict[str, str], list[str]]:
    """What all runs were trained with, and where they differ in more than method, seed and labelled cases.

    Args:
        runs: any.

    Returns:
        {key: value} of the keys that have one value in all runs, and a sentence for each key that has not: a key that
        is a method's own must be as in methods.py and the same in all its runs, any other the same in all runs of as
        many labelled cases.
    """
    seen: dict[str, dict[tuple, dict[str, list[str]]]] = {}
    # a key that one run was given beyond its method's is looked for in all
    given = {key for run in runs for key in run.overrides if key not in GRID.get(run.method, {})}
    for run in runs:
        own = GRID.get(run.method, {})
        for key in sorted({*given, *own} - {*OF_ONE_RUN}):
            scope = (run.num_labeled, run.method) if key in own else (run.num_labeled,)
            value = run.overrides.get(key, NOT_SET)
            seen.setdefault(key, {}).setdefault(scope, {}).setdefault(value, []).append(run.name)
    common = {}
    for key, scopes in seen.items():
        values = {value for found in scopes.values() for value in found}
        if len(values) == 1 and sum(len(names) for found in scopes.values() for names in found.values()) == len(runs):
            common[key] = values.pop()
    differing = [
        f"`{key}`: `{run.overrides.get(key, NOT_SET)}` in {run.name}; `{value}` in methods.py now"
        for run in runs
        for key, value in GRID.get(run.method, {}).items()
        if run.overrides.get(key) != str(value)
    ]
    differing += [
        f"`{key}`: " + "; ".join(f"`{value}` in {', '.join(names)}" for value, names in found.items())
        for key, scopes in seen.items()
        for found in scopes.values()
        if len(found) > 1
    ]
    return common, differing
