# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a study: tables, charts and the figures of every run, of the folders that the runner wrote.

    python -m benchmarks.study.report --folder study --seeds "[3,4,5]"
    python -m benchmarks.study.report --folder study --methods "['scdl','scdl_no_sac']" --seeds "[0]"
    python -m benchmarks.study.report picture --folder study --output organ.png --methods "['cps_ga','scdl']"

Runs of the grid that are not finished are named as missing; runs in the folder beyond the grid are reported, too.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import fire

from benchmarks.study.methods import MAIN
from benchmarks.study.report_charts import Groups, learning_curves, organ_chart
from benchmarks.study.report_pairs import BASELINE, compare_methods
from benchmarks.study.report_picture import draw_small_organ
from benchmarks.study.report_runs import StudyRun, find_runs
from benchmarks.study.report_text import markdown
from scdl_components.errors import InputError, exit_on_user_errors
from scdl_components.report.compare import check_comparable
from scdl_components.report.files import whole_files

DRAWN = (BASELINE, "scdl")
COLUMNS = ("num_labeled", "method", "seed", "state", "mean_dice", "head_dice", "tail_dice")
COLUMNS += ("seconds_per_iteration", "training_minutes", "peak_memory_mb")


def report(
    folder: str,
    output: str | None = None,
    methods: Sequence[str] = MAIN,
    seeds: Sequence[int] = (0, 1, 2),
    num_labeled: Sequence[int] | None = None,
) -> None:
    """Writes ``report.md``, ``results.csv``, ``learning_curves.png``, ``organs.png`` and pictures of a small organ.

    Args:
        folder: of the study.
        output: folder to write to, by default ``<folder>/report``.
        methods: of the grid, as they were given to the runner.
        seeds: likewise.
        num_labeled: likewise; by default all that there are in the folder.

    Raises:
        InputError: there is no finished run, or the runs cannot be read or compared.
    """
    output = output or str(Path(folder, "report"))
    runs, missing = find_runs(folder, methods, seeds, num_labeled)
    groups = by_method(runs)
    pairs, problems, drawn = {}, [], {}
    with whole_files(output, numbered="small_organ_*.png") as place:
        for number, found in groups.items():
            # whatever stands in one table is of the same cases and protocol, compared or not
            check_comparable([run.evaluated for group in found.values() for run in group])
            pairs[number], not_paired = compare_methods(found)
            problems += [f"{number} labelled, {text}" for text in not_paired]
            if {run.seed for run in found.get(DRAWN[0], ())} & {run.seed for run in found.get(DRAWN[1], ())}:
                name = f"small_organ_{number}_labeled.png"
                try:
                    caption = draw_small_organ(*(found[method] for method in DRAWN), Path(folder), place / name)
                    drawn[number] = name, caption
                except InputError as error:  # segmentations may have been deleted since; the figures are there
                    problems.append(f"{number} labelled, no picture of a small organ: {error}")
        learning_curves(groups, place / "learning_curves.png")
        organ_chart(groups, place / "organs.png")
        write_results(runs, missing, place / "results.csv")
        (place / "report.md").write_text(markdown(groups, missing, pairs, problems, drawn), encoding="utf-8")
    print(f"report of {len(runs)} runs, {len(missing)} missing: {Path(output, 'report.md')}")


def picture(
    folder: str,
    output: str,
    methods: Sequence[str] = DRAWN,
    num_labeled: int = 2,
    organ: str = "",
) -> None:
    """Draws a small organ as two methods segment it, beside the reference; prints what is shown, and by which rule.

    Args:
        folder: of the study.
        output: PNG to write.
        methods: two of them.
        num_labeled: labelled cases that they were trained on.
        organ: its name; without one, the smallest organ.

    Raises:
        InputError: there is no such run or organ.
    """
    if isinstance(methods, str) or len(methods) != 2:
        raise InputError(f"methods is {methods!r}; expected two, e.g. \"['cps_ga','scdl']\"")
    runs, _ = find_runs(folder, (), (), ())
    found = by_method(runs).get(num_labeled, {})
    absent = [method for method in methods if method not in found]
    if absent:
        raise InputError(
            f"'{folder}' has no finished run of {', '.join(absent)} with {num_labeled} labelled cases; it has "
            f"{', '.join(found) or 'none at all with so many'}"
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    print(draw_small_organ(*(found[method] for method in methods), Path(folder), Path(output), organ))


def by_method(runs: Sequence[StudyRun]) -> Groups:
    """Number of labelled cases -> method -> its runs, in the order of the runs."""
    groups: dict[int, dict[str, list[StudyRun]]] = {}
    for run in runs:
        groups.setdefault(run.num_labeled, {}).setdefault(run.method, []).append(run)
    return groups


def write_results(runs: Sequence[StudyRun], missing: Mapping[str, str], path: Path) -> None:
    """A row for each run; those that are missing have a state and no figures."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for run in runs:
            figures = [run.dice("all"), run.dice("head"), run.dice("tail")]
            figures += [run.seconds_per_iteration, run.training_minutes, run.peak_memory_mb]
            cells = ["" if value != value else f"{value:.6g}" for value in figures]
            writer.writerow(dict(zip(COLUMNS, [run.num_labeled, run.method, run.seed, "finished", *cells])))
        for name, state in missing.items():
            labeled, method, seed = name.split("/")
            numbers = labeled.removesuffix("_labeled"), method, seed.removeprefix("seed_")
            writer.writerow(dict(zip(COLUMNS, [*numbers, state])))


if __name__ == "__main__":
    with exit_on_user_errors():
        if sys.argv[1:2] == ["picture"]:
            fire.Fire(picture, command=sys.argv[2:])
        else:
            fire.Fire(report)
