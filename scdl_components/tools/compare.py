# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of evaluated runs as a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from ..errors import InputError
from ..report.compare import READING, compare_runs, load_run, run_of_seeds, write_comparison


def compare(
    runs: str | Sequence[str | Sequence[str]],
    output: str,
    names: str | Sequence[str] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 10000,
    seed: int = 0,
) -> None:
    """Compares runs and writes ``comparison.csv`` and ``comparison.html``.

    Args:
        runs: report folders of evaluations; a list of folders in place of one is a run of several seeds. On the
            command line "[a,b]" or "[[a1,a2],[b1,b2]]".
        output: folder to write to.
        names: of the runs, "[A,B]"; default the folders.
        confidence: of the intervals.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    # Fire leaves a list of paths as it stands
    runs, names = (yaml.safe_load(value) if isinstance(value, str) else value for value in (runs, names))
    names = runs if names is None else names
    if not isinstance(runs, (list, tuple)) or not isinstance(names, (list, tuple)) or len(names) != len(runs):
        raise InputError(f'runs is {runs!r}, names {names!r}; expected two lists of one length, e.g. "[a,b]"')
    loaded = []
    for name, folders in zip(names, runs):
        seeds = [load_run(f, str(f)) for f in ([folders] if isinstance(folders, str) else folders)]
        loaded.append(run_of_seeds(seeds, str(name)))
    options = {"confidence": confidence, "num_resamples": num_resamples, "seed": seed}
    found = compare_runs(loaded, **options)
    reading = READING.format(**{**options, "confidence": 100 * confidence})
    write_comparison(found, loaded[0], reading, output)
    print(f"comparison: {Path(output, 'comparison.html')}")
