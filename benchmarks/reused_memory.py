# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Iterations with and without ``reuse_memory``, in turn, in one process: seconds, the kernel's share, memory.

    python -m benchmarks.reused_memory                                          # 96³, 16 filters: about ten minutes
    python -m benchmarks.reused_memory --roi_size "[32,32,32]" --num_filters 8
"""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import fire
import torch
from ignite.engine import Events

from benchmarks.step_time import ratio, workflow
from scdl_components.memory import give_back

# iterations of a block, of which the first is not counted: it takes the memory that the others use again
BLOCK = 3


def measure(blocks: int, **scale: object) -> tuple[dict[bool, list[tuple[float, float, float]]], dict[bool, float]]:
    """(Seconds, the processor's in the kernel, likewise in all) of iterations with memory kept (True) and not; GB then held."""
    figures: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    held = {True: 0.0, False: 0.0}
    start: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        run = workflow(folder, max_iterations=2 * BLOCK * blocks, val_interval=10**6, **scale)
        trainer = run.trainer
        (reuse, *_) = run.parser.get_parsed_content("train#handlers")

        def now() -> tuple[float, float, float]:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return time.perf_counter(), usage.ru_stime, usage.ru_stime + usage.ru_utime

        def begin() -> None:
            reuse.wanted = (trainer.state.iteration - 1) // BLOCK % 2 == 0
            start[:] = [now()]

        def end() -> None:
            kept, place = reuse.wanted, (trainer.state.iteration - 1) % BLOCK
            taken = tuple(after - before for before, after in zip(start[0], now()))
            print(f"kept {kept}: {taken[0]:.2f} s, {taken[1]:.2f} of them in the kernel", flush=True)
            trainer.state.output = None
            trainer.optimizer.zero_grad(set_to_none=True)
            if place > 0:
                figures[kept].append(taken)
                held[kept] = max(held[kept], int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9)
            if place == BLOCK - 1:
                give_back()

        # begin before, end behind all handlers of the bundle
        trainer.add_event_handler(Events.GET_BATCH_STARTED, begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
        trainer.run()
    return figures, held


def main(
    blocks: int = 2,
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    threads: int = 2,
    report: str = "",
) -> None:
    """Measures both and prints a Markdown table.

    Args:
        blocks: of iterations of each kind.
        roi_size: patch.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        threads: of PyTorch.
        report: Markdown file to write the table to.
    """
    torch.set_num_threads(threads)
    figures, held = measure(blocks, roi_size=list(roi_size), num_filters=num_filters, spacing=spacing)
    seconds, kernel, processor = ({kept: [t[i] for t in taken] for kept, taken in figures.items()} for i in range(3))

    def row(name: str, values: dict[bool, list[float]]) -> str:
        return f"| {name} | {median(values[False]):.2f} | {median(values[True]):.2f} | {ratio(values[False], values[True])} |"

    text = f"""# What keeping freed memory gives

`python -m benchmarks.reused_memory --blocks {blocks} --roi_size "{list(roi_size)}" --num_filters {num_filters}`, batch 2 + 2, {threads} threads,
{platform.machine()}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}, PyTorch {torch.__version__}, THP_MEM_ALLOC_ENABLE={os.environ.get("THP_MEM_ALLOC_ENABLE", 0)};
{len(seconds[True])} iterations of each kind, medians, in brackets the extremes of the ratios.

| an iteration | `reuse_memory` off | on | ratio |
| --- | --- | --- | --- |
{row("seconds", seconds)}
{row("processor's seconds", processor)}
| of them in the kernel | {median(kernel[False]):.2f} | {median(kernel[True]):.2f} | |
| memory held between iterations, GB | {held[False]:.2f} | {held[True]:.2f} | |
"""
    print(text)
    if report:
        Path(report).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
