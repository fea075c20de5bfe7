# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Iterations with and without ``reuse_memory``, processes of both in turn: seconds, the kernel's share, memory.

    python -m benchmarks.reused_memory                                          # 96³, 16 filters: about ten minutes
    python -m benchmarks.reused_memory --roi_size "[32,32,32]" --num_filters 8
"""

from __future__ import annotations

import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import fire
import torch
from ignite.engine import Events

from benchmarks.machine import machine
from benchmarks.step_time import ratio, workflow

Figures = tuple[float, float, float]


def measure(keep: bool, iterations: int, threads: int, scale: dict[str, object]) -> tuple[list[Figures], float]:
    """(Seconds, the processors' in all, those in the kernel) of iterations but the first; GB that the process then has."""
    torch.set_num_threads(threads)
    marks: list[Figures] = []
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        run = workflow(folder, max_iterations=iterations + 1, val_interval=10**6, reuse_memory=keep, **scale)
        trainer = run.trainer

        def mark() -> None:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            marks.append((time.perf_counter(), usage.ru_stime + usage.ru_utime, usage.ru_stime))

        def end() -> None:
            mark()
            trainer.state.output = None
            trainer.optimizer.zero_grad(set_to_none=True)
            if trainer.state.iteration > 1:  # the first one takes the memory
                figures.append(tuple(after - before for before, after in zip(*marks[-2:])))
                print(f"reuse_memory {keep}: {figures[-1][0]:.2f} s, {figures[-1][2]:.2f} in the kernel", flush=True)

        trainer.add_event_handler(Events.GET_BATCH_STARTED, mark)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
        trainer.run()
    return figures, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def in_its_own_process(*arguments: object) -> tuple[list[Figures], float]:
    """:func:`measure`; what a process has kept once, it has for good."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def main(
    pairs: int = 2,
    iterations: int = 2,
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    threads: int = 2,
    report: str = "",
) -> None:
    """Measures both and prints a Markdown table.

    Args:
        pairs: processes of each kind.
        iterations: measured of each process.
        roi_size: patch.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        threads: of PyTorch.
        report: Markdown file to write the table to.
    """
    scale = {"roi_size": list(roi_size), "num_filters": num_filters, "spacing": spacing}
    figures: dict[bool, list[Figures]] = {False: [], True: []}
    peaks: dict[bool, list[float]] = {False: [], True: []}
    for keep in [False, True] * pairs:
        measured, peak = in_its_own_process(keep, iterations, threads, scale)
        figures[keep] += measured
        peaks[keep].append(peak)
    seconds, processor, kernel = ({keep: [t[i] for t in taken] for keep, taken in figures.items()} for i in range(3))

    def row(name: str, values: dict[bool, list[float]]) -> str:
        return f"| {name} | {median(values[False]):.2f} | {median(values[True]):.2f} | {ratio(values[False], values[True])} |"

    text = f"""# What keeping freed memory gives

`python -m benchmarks.reused_memory --pairs {pairs} --iterations {iterations} --roi_size "{list(roi_size)}" --num_filters {num_filters}`, batch 2 + 2, {threads} threads,
{machine()}, {" ".join(platform.libc_ver())};
{len(seconds[True])} iterations of each kind, the first of each process not counted; medians, in brackets the extremes of the ratios.

| an iteration | `reuse_memory` off | on | ratio |
| --- | --- | --- | --- |
{row("seconds", seconds)}
{row("processors' seconds", processor)}
| of them in the kernel | {median(kernel[False]):.2f} | {median(kernel[True]):.2f} | |
| peak memory of the process, GB | {median(peaks[False]):.2f} | {median(peaks[True]):.2f} | {ratio(peaks[True], peaks[False])} on over off |
"""
    print(text)
    if report:
        Path(report).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
