# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of methods: differences over the seeds' mean of each case, and of every seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.study.methods import METHODS
from benchmarks.study.report_runs import StudyRun
from scdl_components.report.compare import compare_runs, run_of_seeds
from scdl_components.report.paired import Difference

BASELINE = "cps_ga"
# what the change of the published method adds, and each part of SCDL
FURTHER = tuple((method, "scdl") for method in METHODS if method.startswith("scdl_"))


@dataclass(frozen=True)
class Pair:
    """Two methods compared in Dice, second minus first.

    Attributes:
        first: name of a method.
        second: likewise.
        differences: by organ, large to small, then head, tail and all; of the seeds' mean of each case.
        seeds: the same differences in each seed that both methods have.
    """

    first: str
    second: str
    differences: Sequence[Difference]
    seeds: Mapping[int, Sequence[Difference]]

    @property
    def heading(self) -> str:
        """Which way the difference goes."""
        return f"{self.second} minus {self.first}"

    def by_seed(self, name: str) -> dict[int, float]:
        """{seed: difference} of an organ or a group."""
        return {seed: next(row.difference for row in rows if row.name == name) for seed, rows in self.seeds.items()}


def compare_methods(methods: Mapping[str, Sequence[StudyRun]]) -> tuple[list[Pair], list[str]]:
    """Each method against the baseline, and the further pairs.

    Args:
        methods: method -> its runs.

    Returns:
        The pairs, and a sentence for each one that cannot be made or lacks seeds.

    Raises:
        InputError: runs are not of the same cases, organs and protocol.
    """
    wanted = [(BASELINE, method) for method in methods if method != BASELINE]
    wanted += [pair for pair in FURTHER if pair[0] in methods]
    pairs, problems = [], []
    for first, second in wanted:
        a, b = ({run.seed: run for run in methods.get(name, ())} for name in (first, second))
        common = sorted(a.keys() & b.keys())
        alone = [f"{first} alone has seed {seed}" for seed in a if seed not in b]
        alone += [f"{second} alone has seed {seed}" for seed in b if seed not in a]
        if alone:
            problems.append(f"{second} minus {first}: {', '.join(alone)}")
        if common:
            pairs.append(compare_pair([a[seed] for seed in common], [b[seed] for seed in common]))
    return pairs, problems


def compare_pair(a: Sequence[StudyRun], b: Sequence[StudyRun]) -> Pair:
    """One pair, of runs of the same seeds in the same order; errors as of :func:`compare_methods`."""
    first, second = a[0].method, b[0].method
    evaluated = [[run.evaluated for run in runs] for runs in (a, b)]
    both = [run_of_seeds(runs, method) for runs, method in zip(evaluated, (first, second))]
    differences = compare_runs(both, metrics=["dice"])[first, second]
    seeds = {run.seed: compare_runs([x, y], metrics=["dice"])[x.name, y.name] for run, x, y in zip(a, *evaluated)}
    return Pair(first, second, differences, seeds)
