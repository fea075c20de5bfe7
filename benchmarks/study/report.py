# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a study, of the folders that the runner wrote: figures as CSV, tables, curves, paired comparisons.

    python -m benchmarks.study.report --folder study
    python -m benchmarks.study.report --folder study --baseline scdl_published

The comparisons are those of ``scdl_components.report.compare``, each method against the baseline.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.measure import write_csv
from benchmarks.study.runs import Groups, StudyRun, differing_settings, find_runs
from scdl_components.command import run_command
from scdl_components.report.compare import check_comparable, compare_runs, interval, run_of_seeds, write_comparison
from scdl_components.report.page import markdown_table, mean_and_std, number
from scdl_components.report.paired import Difference
from scdl_components.report.table import cell, statistics

FALL = 0.02  # of the mean validation Dice, from its best to its last; runs differ by this much without a fall
COLUMNS = {  # of results.csv -> heading and decimals in the table
    **{f"{name}_dice": (name, 3) for name in ("mean", "head", "tail")},
    "seconds_per_iteration": ("seconds an iteration", 3),
    "peak_memory_mb": ("peak memory, MB", 0),
}
READING = (
    "A run's Dice is the mean over the cases of each case's mean over its organs, of the weights that were best in "
    "validation; an organ that a segmentation lacks counts 0. Cells are the mean over the seeds ± their sample "
    "standard deviation, and the number of seeds. The seeds change initialisation, crops and order of the cases; the "
    "cases are the same. Memory is the training process's peak in main memory; seconds are no more than a hint on a busy "
    "machine."
)
PAIRING = (
    "Of the seeds' mean of each case, with a 95 % bootstrap interval over cases and seeds together. Few seeds make it "
    "too narrow, so they are shown one by one, too. Every organ and metric: `{folder}/comparison.csv`."
)
CURVES = (
    f"Mean / tail Dice of the validation cases while training. The last column says where the mean ends more than "
    f"{FALL} below its best: trained longer, the run got worse."
)
Table = tuple[list[str], list[list[str]]]  # header and rows


def report(folder: str, output: str | None = None, baseline: str = "cps_ga") -> None:
    """Writes ``report.md``, ``results.csv``, ``organs.csv``, ``curves.csv``, ``learning_curves.png`` and comparisons.

    Args:
        folder: of the study.
        output: folder to write to, by default ``<folder>/report``.
        baseline: method that the others are compared with.

    Raises:
        InputError: there is no finished run, or the runs cannot be read or compared.
    """
    output = Path(output or Path(folder, "report"))
    groups, begun = find_runs(folder)
    runs = [run for methods in groups.values() for found in methods.values() for run in found]
    protocol, tail = runs[0].evaluated.protocol, runs[0].summary["groups"]["tail"]["organs"]
    text = [
        "# Study",
        f"{len(runs)} finished runs, evaluated on {runs[0].summary['num_cases']} cases of the list "
        f"'{runs[0].done['cases']}', protocol {protocol['name']}: {protocol['description']}. Tail: {', '.join(tail)}.",
        *([f"Begun, not finished: {', '.join(begun)}."] if begun else []),
    ]
    if differing := differing_settings(runs):
        text += ["## Runs that differ in more than method and seed", "\n".join(f"- {each}" for each in differing)]
    for num_labeled, methods in groups.items():
        # whatever stands in one table is of the same cases and protocol, compared or not
        check_comparable([run.evaluated for found in methods.values() for run in found])
        many, place = f"{num_labeled} labeled cases", f"comparison_{num_labeled}_labeled"
        text += [f"## Dice, {many}", markdown_table(*dice_table(methods)), READING]
        pairs, table = compare_with(baseline, methods)
        if pairs:
            write_comparison(pairs, output / place)
            text += [f"## Differences to {baseline}, {many}", markdown_table(*table), PAIRING.format(folder=place)]
        text += [f"## Validation, {many}", markdown_table(*curve_table(methods)), CURVES]
    write_csv([result_row(run) for run in runs], output / "results.csv")
    write_csv([row for run in runs for row in organ_rows(run)], output / "organs.csv")
    write_csv([row for run in runs for row in curve_rows(run)], output / "curves.csv")
    learning_curves(groups).savefig(output / "learning_curves.png")
    (output / "report.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    print(f"report of {len(runs)} runs, {len(begun)} begun alone: {output / 'report.md'}")


def identity(run: StudyRun) -> dict[str, object]:
    """The columns that all tables begin with."""
    return {"num_labeled": run.num_labeled, "method": run.method, "seed": run.seed}


def result(run: StudyRun) -> dict[str, float]:
    """What results.csv and the table say of a run; keys of ``COLUMNS``."""
    training = run.done["training"]
    return {
        **{f"{name}_dice": run.dice(group) for name, group in (("mean", "all"), ("head", "head"), ("tail", "tail"))},
        "seconds_per_iteration": run.seconds_per_iteration,
        "peak_memory_mb": training["peak_memory_mb"],
    }


def result_row(run: StudyRun) -> dict[str, object]:
    """Row of results.csv, with the commit of the code."""
    texts = {key: cell(value) for key, value in result(run).items()}
    return {**identity(run), **texts, "commit": run.done.get("commit", "")}


def organ_rows(run: StudyRun) -> list[dict[str, object]]:
    """Rows of organs.csv, large to small: mean Dice over the cases."""
    return [
        {**identity(run), "organ": name, "size_ml": facts["size_ml"], "group": facts["group"]}
        | {"dice": facts["metrics"]["dice"]["mean"]}
        for name, facts in run.summary["organs"].items()
    ]


def curve_rows(run: StudyRun) -> list[dict[str, object]]:
    """Rows of curves.csv: validation Dice by iteration."""
    mean, tail = run.curves["mean"], run.curves["tail"]
    return [
        {**identity(run), "iteration": step, "mean_dice": dice, "tail_dice": tail.get(step, "")}
        for step, dice in mean.items()
    ]


def dice_table(methods: Mapping[str, Sequence[StudyRun]]) -> Table:
    """Dice and cost of the methods."""
    rows = []
    for method, runs in methods.items():
        found = [result(run) for run in runs]
        values = {key: statistics(np.array([each[key] for each in found])) for key in COLUMNS}
        rows.append([method, *(mean_and_std(values[key], digits) for key, (_, digits) in COLUMNS.items())])
    return ["method", *(heading for heading, _ in COLUMNS.values())], rows


def compare_with(
    baseline: str, methods: Mapping[str, Sequence[StudyRun]]
) -> tuple[dict[tuple[str, str], list[Difference]], Table]:
    """Compares each method with the baseline in the seeds that both have.

    Returns:
        (baseline, method) -> differences, none of methods without a common seed; and a table of them.

    Raises:
        InputError: runs are not of the same cases, organs and protocol.
    """
    pairs, rows = {}, []
    for method in methods:
        of_baseline, of_method = ({run.seed: run for run in methods.get(name, ())} for name in (baseline, method))
        common = sorted(of_baseline.keys() & of_method.keys())
        if method == baseline or not common:
            continue
        a, b = ([found[seed] for seed in common] for found in (of_baseline, of_method))
        both = [run_of_seeds([run.evaluated for run in found], name) for found, name in ((a, baseline), (b, method))]
        pairs[baseline, method] = compare_runs(*both)
        for row in pairs[baseline, method]:
            if row.metric == "dice" and row.scope == "group":
                by_seed = [f"{x.seed}: {y.dice(row.name) - x.dice(row.name):+.3f}" for x, y in zip(a, b)]
                means = number(row.mean_a, 3), number(row.mean_b, 3)
                rows.append([f"{method} minus {baseline}", row.name, *means, interval(row, 3), ", ".join(by_seed)])
    return pairs, (["pair", "organs", "baseline", "method", "difference [interval]", "by seed"], rows)


def curve_table(methods: Mapping[str, Sequence[StudyRun]]) -> Table:
    """Validation by iteration, a row for each run, and whether it fell."""
    runs = [run for found in methods.values() for run in found]
    steps = sorted({step for run in runs for step in run.curves["mean"]})
    rows = []
    for run in runs:
        mean, tail = run.curves["mean"], run.curves["tail"]
        cells = [f"{number(mean.get(step), 3)} / {number(tail.get(step), 3)}" for step in steps]
        rows.append([f"{run.method}, seed {run.seed}", *cells, fall(mean)])
    return ["run", *map(str, steps), "fall"], rows


def fall(curve: Mapping[int, float]) -> str:
    """Where a curve was best and how far below that it ends; "none" up to ``FALL``."""
    if not curve:
        return number(None, 3)
    best, last = max(curve, key=curve.get), max(curve)
    lost = curve[best] - curve[last]
    return f"**−{lost:.3f}** since {best}" if lost > FALL else "none"


def learning_curves(groups: Groups) -> Figure:
    """Draws validation Dice of all and of the small organs; a row for each number of labeled cases."""
    figure = Figure(figsize=(11, 3.9 * len(groups) + 0.5), dpi=130, layout="constrained")
    names = list(dict.fromkeys(method for methods in groups.values() for method in methods))
    colors = dict(zip(names, matplotlib.colormaps["tab10"].colors * len(names)))
    panels = figure.subplots(len(groups), 2, sharex=True, sharey=True, squeeze=False)
    for row, (num_labeled, methods) in zip(panels, groups.items()):
        for ax, (name, what) in zip(row, (("mean", "all organs"), ("tail", "small organs (tail)"))):
            for method, runs in methods.items():
                curves = [run.curves[name] for run in runs]
                for curve in curves:
                    ax.plot(list(curve), list(curve.values()), color=colors[method], linewidth=0.7, alpha=0.45)
                # of the iterations that all seeds have
                steps = sorted(set.intersection(*map(set, curves)))
                means = [np.mean([curve[step] for curve in curves]) for step in steps]
                ax.plot(steps, means, "o-", color=colors[method], linewidth=2.2, label=f"{method} ({len(runs)} seeds)")
            ax.set_title(f"{num_labeled} labeled: validation Dice, {what}", fontsize=10, loc="left")
        row[0].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    run_command(report)
