# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of evaluated runs, paired by case."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .page import NO_VALUE, decimals, number, write_files
from .paired import CONFIDENCE, NUM_RESAMPLES, Difference, compare_tables
from .table import ScoreTable, cell, csv_text

READING = (
    f"Differences are those of the same cases, with a {100 * CONFIDENCE:g} % bootstrap interval over the cases "
    f"({NUM_RESAMPLES} resamples) and the two-sided p of Wilcoxon's signed-rank test; p (Holm) is corrected for the number "
    "of organs. n are the cases in which both runs have a value, and everything in a line is of these. Lines of head, "
    "tail and all are of each case's mean over its organs. The last column counts the case-organ pairs that only one run "
    "defines (first / second), such as an organ that it draws where there is none: they count in the Dice and NSD "
    "of head, tail and all, and are left out of everything else. Runs of several seeds: the seeds' mean of each case, the "
    "interval is over cases and seeds together, and there is no p. Few seeds make the interval too narrow: look at each seed."
)


@dataclass(frozen=True)
class Run:
    """An evaluated run.

    Attributes:
        name: to show.
        tables: scores by case and organ, a table for each seed; all of the same cases, organs and references.
        protocol: as in ``summary.json``.
        num_tail: how many of the smallest organs are the tail.
    """

    name: str
    tables: Sequence[ScoreTable]
    protocol: dict
    num_tail: int


def load_run(folder: str | Path, name: str) -> Run:
    """Load the run of a report folder (``metrics.csv`` and ``summary.json``).

    Raises:
        InputError: the folder holds no complete report.
    """
    try:
        summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
        protocol, num_tail = summary["protocol"], summary["num_tail"]
        table = ScoreTable.read_csv(Path(folder, "metrics.csv"), protocol["unit"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{folder}' holds no report of an evaluation ({type(error).__name__}: {error}); expected metrics.csv and "
            "summary.json: name the report_dir of an evaluation"
        ) from error
    return Run(name, [table], protocol, num_tail)


def run_of_seeds(runs: Sequence[Run], name: str) -> Run:
    """Put runs of several seeds together as one.

    Raises:
        InputError: the runs cannot be compared.
    """
    check_comparable(runs)
    return replace(runs[0], name=name, tables=[table for run in runs for table in run.tables])


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs of other cases, organs, references or another protocol.

    Raises:
        InputError: the message says what differs, and between which runs.
    """
    first = runs[0]
    table = first.tables[0]
    for run in runs[1:]:
        other = run.tables[0]
        pair = f"'{first.name}' and '{run.name}' cannot be compared"
        for what in ("cases", "organs"):
            ours, theirs = getattr(table, what), getattr(other, what)
            if ours != theirs:
                raise InputError(
                    f"{pair}, their {what} or the order of these differ: only in '{first.name}': "
                    f"{_names(set(ours) - set(theirs))}; only in '{run.name}': {_names(set(theirs) - set(ours))}. "
                    "Evaluate both on the same list"
                )
        settings = [{**each.protocol, "num_tail": each.num_tail} for each in (first, run)]
        for key in ("name", "nsd_tolerance", "num_tail"):
            a, b = (each.get(key) for each in settings)
            if a != b:
                raise InputError(f"{pair}, their protocols differ ({key}: {a} and {b}); evaluate both with the same")
        volumes = (each.values["volume_reference_ml"] for each in (table, other))
        differing = ~np.isclose(*volumes, rtol=1e-4, atol=1e-3).all(axis=1)
        if differing.any():
            raise InputError(
                f"{pair}, their references differ in {_names(np.array(table.cases)[differing])} (volumes of the "
                "organs); evaluate both against the same labels"
            )


def compare_runs(a: Run, b: Run) -> list[Difference]:
    """Compute ``b - a`` as :py:func:`scdl_components.report.paired.compare_tables` does.

    Raises:
        InputError: the runs cannot be compared, or have not as many seeds.
    """
    check_comparable([a, b])
    if len(a.tables) != len(b.tables):
        raise InputError(
            f"'{a.name}' has {len(a.tables)} seeds and '{b.name}' {len(b.tables)}: give as many of both, in the same order"
        )
    return compare_tables(a.tables, b.tables, a.num_tail)


def write_comparison(pairs: Mapping[tuple[str, str], Sequence[Difference]], output: str | Path) -> None:
    """Write ``comparison.csv``, a row for each pair of runs, metric and organ or group.

    Args:
        pairs: names of two runs -> their differences.
        output: folder.
    """
    lines = [["first", "second", *(field.name for field in fields(Difference))]]
    lines += [[*pair, *map(cell, asdict(row).values())] for pair, rows in pairs.items() for row in rows]
    write_files(output, {"comparison.csv": csv_text(lines)})


def difference_table(a: str, b: str, rows: Sequence[Difference], metric: str) -> tuple[list[str], list[list[str]]]:
    """Show one metric of two runs as header and rows."""
    header = ["organ", "n", a, b, "difference [interval]", "p", "p (Holm)", "one run alone"]
    digits, cells = decimals(metric), []
    for row in (row for row in rows if row.metric == metric):
        name = row.name if row.scope == "organ" else f"mean of {row.name}"
        alone = f"{row.only_a} / {row.only_b}" if row.only_a or row.only_b else NO_VALUE
        means = (number(mean, digits) for mean in (row.mean_a, row.mean_b))
        p_values = ("< 0.001" if p < 0.001 else number(p, 3) for p in (row.p_value, row.p_holm))
        cells.append([name, str(row.n), *means, interval(row, digits), *p_values, alone])
    return header, cells


def interval(row: Difference, digits: int) -> str:
    """Format ``+difference [low, high]``."""
    if not row.n:
        return NO_VALUE
    ends = "" if np.isnan(row.low) else f" [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return f"{row.difference:+.{digits}f}{ends}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
