# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a study as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.study.report_charts import Groups, organ_dice
from benchmarks.study.report_pairs import Pair
from benchmarks.study.report_runs import NOT_SET, StudyRun, settings
from benchmarks.study.run import GRID
from scdl_components.report.paired import Difference
from scdl_components.report.summary import statistics
from scdl_components.report.text import NO_VALUE, markdown_table, mean_and_std, number

NOT_PATIENTS = "Phantoms, not patients: figures say how the methods compare here, not how well they segment CT. "
READING = (
    "A run's Dice is the mean over the cases of each case's mean over its organs; an organ that a segmentation lacks "
    "counts 0. Each cell is the mean over the seeds ± their sample standard deviation, and in brackets the number of "
    "seeds; one seed has no spread. The seeds change initialisation, crops and order of the cases; the cases are the "
    "same."
)
PAIRING = (
    "Differences are second minus first, of the same cases and the same seeds: the seeds' mean of each case, with a "
    "95 % bootstrap interval over the cases (10000 resamples) and the two-sided p of Wilcoxon's signed-rank test, as "
    "`scdl_components.report.compare` computes them. The interval says how far the difference holds for other cases, "
    "not for other seeds: those are shown one by one. p of the organs is corrected by Holm's method for their number; "
    "nothing is corrected for the number of pairs. An organ that one method alone draws where there is none counts 0 in "
    "its mean of head, tail and all, as in the table above, and has no line of its own."
)
COST = (
    "Seconds of an iteration: the median over the intervals of the training log, without validation; on a machine that "
    "did other work at the same time they are no more than a hint. Memory: the peak of the training process in the "
    "machine's main memory (not a GPU's)."
)


def markdown(
    groups: Groups,
    missing: Mapping[str, str],
    pairs: Mapping[int, Sequence[Pair]],
    problems: Sequence[str],
    drawn: Mapping[int, tuple[str, str]],
) -> str:
    """The report.

    Args:
        groups: number of labelled cases -> method -> its runs.
        missing: name -> what is wrong, of the runs that are not there.
        pairs: number of labelled cases -> comparisons.
        problems: sentences on comparisons that lack seeds, and on pictures that could not be drawn.
        drawn: number of labelled cases -> (file, caption) of the picture of a small organ.
    """
    runs = [run for methods in groups.values() for found in methods.values() for run in found]
    protocol = runs[0].evaluated.protocol
    lists = ", ".join(dict.fromkeys(run.cases for run in runs))
    sources = dict.fromkeys("phantoms" if run.of_phantoms else f"`{run.overrides['dataset_dir']}`" for run in runs)
    parts = [
        f"# Study: methods on {', '.join(sources)}",
        f"{len(runs)} of {len(runs) + len(missing)} runs are finished. {NOT_PATIENTS if 'phantoms' in sources else ''}"
        f"Evaluated on {len(runs[0].evaluated.table.cases)} cases "
        f"of the list '{lists}', protocol {protocol['name']}: {protocol['description']}. The tail are the "
        f"{runs[0].evaluated.num_tail} smallest organs: {', '.join(runs[0].summary['groups']['tail']['organs'])}.",
        "## Runs that are missing",
        "\n".join(f"- `{name}`: {state}" for name, state in missing.items()) or "None.",
    ]
    common, differing = settings(runs)
    if differing:
        parts += ["## Runs that differ in more than method and seed", "\n".join(f"- {text}" for text in differing)]
    for num_labeled, methods in groups.items():
        many = f", {num_labeled} labelled cases"
        parts += [f"## Dice{many}", markdown_table(*dice_table(methods)), READING]
        parts += [f"## Differences{many}", PAIRING]
        found = pairs[num_labeled]
        parts += [markdown_table(*pairs_table(found)) if found else "No pair of methods has a seed in common."]
        for pair in found:
            table = markdown_table(*pair_table(pair))
            parts += [f"<details><summary>{pair.heading}, by organ</summary>", table, "</details>"]
        parts += [f"## Dice by organ{many}", markdown_table(*organ_table(methods))]
        if num_labeled in drawn:
            parts += [f"## A small organ{many}", "![A small organ]({})\n\n{}".format(*drawn[num_labeled])]
        parts += [f"## Cost{many}", markdown_table(*cost_table(methods)), COST]
    if problems:
        parts += ["## Comparisons and pictures that lack something", "\n".join(f"- {text}" for text in problems)]
    parts += [
        "## Charts",
        "![Dice by organ](organs.png)\n\nDice by organ: bars are means over the seeds, dots the seeds.",
        "![Learning curves](learning_curves.png)\n\nValidation Dice while training, on the validation cases: thin "
        "lines are seeds, thick ones their mean.",
        "## Every run",
        markdown_table(*run_table(runs)),
        "## How the runs were made",
        *(markdown_table(*table).replace("---:", "---") for table in settings_tables(runs, common)),
    ]
    return "\n\n".join(parts) + "\n"


def dice_table(methods: Mapping[str, Sequence[StudyRun]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: mean, head and tail Dice of the methods."""
    header = ["method", "mean", "head", "tail"]
    return header, [
        [method, *(over_seeds([run.dice(group) for run in runs], 3) for group in ("all", "head", "tail"))]
        for method, runs in methods.items()
    ]


def organ_table(methods: Mapping[str, Sequence[StudyRun]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: Dice by organ, large to small, a column for each method."""
    organs = next(iter(methods.values()))[0].summary["organs"]
    return ["organ", "size (ml)", "group", *methods], [
        [
            organ,
            number(facts["size_ml"], 1),
            facts["group"] or NO_VALUE,
            *(over_seeds([organ_dice(run, organ) for run in runs], 3) for runs in methods.values()),
        ]
        for organ, facts in organs.items()
    ]


def pairs_table(pairs: Sequence[Pair]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the differences of head, tail and all organs, a line for each pair and group."""
    header = ["pair", "organs", "first", "second", "difference [interval]", "p", "by seed", "better in"]
    rows = []
    for pair in pairs:
        for row in pair.differences:
            if row.scope != "group":
                continue
            by_seed = pair.by_seed(row.name)
            better = f"{sum(change > 0 for change in by_seed.values())} of {len(by_seed)} seeds"
            seeds = ", ".join(f"{seed}: {change:+.3f}" for seed, change in by_seed.items())
            means = number(row.mean_a, 3), number(row.mean_b, 3)
            rows.append([pair.heading, row.name, *means, change_cell(row), p_cell(row.p_value), seeds, better])
    return header, rows


def pair_table(pair: Pair) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the differences of one pair by organ, large to small, then head, tail and all."""
    header = ["organ", "n", pair.first, pair.second, "difference [interval]", "p", "p (Holm)"]
    header += [f"seed {seed}" for seed in pair.seeds]
    rows = []
    for row in pair.differences:
        name = row.name if row.scope == "organ" else f"mean of {row.name}"
        means = number(row.mean_a, 3), number(row.mean_b, 3)
        seeds = [NO_VALUE if np.isnan(change) else f"{change:+.3f}" for change in pair.by_seed(row.name).values()]
        rows.append([name, str(row.n), *means, change_cell(row), p_cell(row.p_value), p_cell(row.p_holm), *seeds])
    return header, rows


def cost_table(methods: Mapping[str, Sequence[StudyRun]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: time and memory of the methods."""
    header = ["method", "seconds of an iteration", "minutes of a training", "peak memory (MB)"]
    return header, [
        [
            method,
            over_seeds([run.seconds_per_iteration for run in runs], 3),
            over_seeds([run.training_minutes for run in runs], 1),
            over_seeds([run.peak_memory_mb for run in runs], 0),
        ]
        for method, runs in methods.items()
    ]


def run_table(runs: Sequence[StudyRun]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every finished run."""
    header = ["run", "mean Dice", "head", "tail", "seconds of an iteration", "peak memory (MB)", "commit"]
    return header, [
        [
            run.name,
            *(number(run.dice(group), 3) for group in ("all", "head", "tail")),
            number(run.seconds_per_iteration, 3),
            number(run.peak_memory_mb, 0),
            run.commit,
        ]
        for run in runs
    ]


def over_seeds(values: Sequence[float], digits: int) -> str:
    """``mean ± std (n)``, without a deviation for a single one."""
    return mean_and_std(statistics(np.array(values)), digits)


def change_cell(row: Difference) -> str:
    """A difference with its interval, where there are cases for one."""
    if not row.n:
        return NO_VALUE
    interval = "" if np.isnan(row.low) else f" [{row.low:+.3f}, {row.high:+.3f}]"
    return f"{row.difference:+.3f}{interval}"


def p_cell(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else number(value, 3)


def settings_tables(
    runs: Sequence[StudyRun], common: Mapping[str, str]
) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of two tables: the keys that all runs share, and those of each method."""
    versions = dict.fromkeys(", ".join(f"{name} {found}" for name, found in run.made_with.items()) for run in runs)
    rows = [[f"`{key}`", f"`{value}`"] for key, value in common.items()]
    rows += [["versions", "; ".join(versions) or NO_VALUE]]
    own = {
        run.method: "; ".join(f"`{key}: {run.overrides.get(key, NOT_SET)}`" for key in GRID.get(run.method, ()))
        for run in runs
    }
    methods = [[name, keys or "none"] for name, keys in own.items()]
    return [(["key of all runs", "value"], rows), (["method", "keys of its own"], methods)]
