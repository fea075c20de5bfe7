# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of evaluated runs as a command."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import yaml

from ..errors import InputError
from ..report.compare import READING, compare_runs, difference_table, load_run, run_of_seeds, write_comparison
from ..report.page import markdown_table


def compare(runs: str | Sequence[str | Sequence[str]], output: str, names: str | Sequence[str] | None = None) -> None:
    """Compare runs, print the differences of Dice, and write all to ``comparison.csv``.

    Args:
        runs: report folders of evaluations; a list of folders in place of one is a run of several seeds, in the same
            order in all of them. On the command line "[a,b]" or "[[a1,a2],[b1,b2]]".
        output: folder to write to.
        names: of the runs, "[A,B]"; default the folders.

    Raises:
        InputError: there are less than two runs with names of their own, or they cannot be compared.
    """
    # Fire leaves a list of paths as it stands
    runs, names = (yaml.safe_load(value) if isinstance(value, str) else value for value in (runs, names))
    names = runs if names is None else names
    if not isinstance(runs, (list, tuple)) or not isinstance(names, (list, tuple)) or len(names) != len(runs):
        raise InputError(f'runs is {runs!r}, names {names!r}; expected two lists of one length, e.g. "[a,b]"')
    names = [str(name) for name in names]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise InputError(f"runs are {names}; expected at least two, each with a name of its own")
    loaded = []
    for name, folders in zip(names, runs):
        seeds = [load_run(f, str(f)) for f in ([folders] if isinstance(folders, str) else folders)]
        loaded.append(run_of_seeds(seeds, name))
    pairs = {(a.name, b.name): compare_runs(a, b) for a, b in combinations(loaded, 2)}
    write_comparison(pairs, output)
    for (a, b), rows in pairs.items():
        print(f"Dice, {b} minus {a}\n\n{markdown_table(*difference_table(a, b, rows, 'dice'))}\n")
    print(f"{READING}\n\nevery metric: {Path(output, 'comparison.csv')}")
