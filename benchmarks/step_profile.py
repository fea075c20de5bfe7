# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Where an iteration's time goes, operator by operator, and whether it waits for a value: PyTorch's profiler.

    python -m benchmarks.step_profile --report benchmarks/step_profile.md
    python -m benchmarks.step_profile --trace trace.json                # for chrome://tracing or ui.perfetto.dev

The bundle's own training on phantoms; the iterations that are recorded lie between two that log. An iteration that asks a
tensor for its value (``.item()``, ``if tensor``) calls aten::_local_scalar_dense, on a CPU as on a GPU, where it then waits.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fire
import torch
from ignite.engine import Engine, Events
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, schedule

from benchmarks.machine import machine
from benchmarks.step_time import words, workflow

# calls that make the host wait for a GPU; the first one is there on a CPU, too
WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy")


def recorded(warm_up: int, iterations: int, trace: str = "", **overrides: object) -> profile:
    """Profile of some iterations of a training, none of which logs.

    Args:
        warm_up: iterations before them.
        iterations: that are recorded.
        trace: file for a trace of them.
        overrides: see :func:`benchmarks.step_time.workflow`.
    """
    last = warm_up + iterations
    with tempfile.TemporaryDirectory() as folder:
        run = workflow(folder, max_iterations=last + 1, log_interval=last + 1, val_interval=10**6, **overrides)
        activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
        with profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=warm_up, active=iterations),
            on_trace_ready=(lambda made: made.export_chrome_trace(trace)) if trace else None,
        ) as result:

            def step(engine: Engine) -> None:
                if engine.state.iteration < last:
                    result.step()
                else:
                    engine.terminate()

            run.trainer.add_event_handler(Events.ITERATION_COMPLETED, step)
            run.trainer.run()
    return result


def in_loader(event: FunctionEvent) -> bool:
    """Whether an event belongs to the loading of a batch."""
    while event is not None and "DataLoader" not in event.name:
        event = event.cpu_parent
    return event is not None


def tables(result: profile, iterations: int, rows: int) -> str:
    """Markdown: operators by their own time, and the calls that wait, of one iteration."""
    averages = [event for event in result.key_averages() if not event.key.startswith("ProfilerStep")]
    on_gpu = any(event.device_type == DeviceType.CUDA for event in averages)
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    seconds = {event.key: getattr(event, own) / iterations / 1e6 for event in averages}
    calls = {event.key: event.count / iterations for event in averages}
    whole = sum(seconds.values())
    longest = sorted(seconds, key=seconds.get, reverse=True)[:rows]
    waits = Counter((event.name, in_loader(event)) for event in result.events() if event.name in WAITS)
    return "\n".join(
        [
            f"| operator or kernel | calls | seconds of its own on the {'GPU' if on_gpu else 'CPU'} | of all |",
            "| --- | --- | --- | --- |",
            *(f"| {key} | {calls[key]:g} | {seconds[key]:.3f} | {100 * seconds[key] / whole:.1f} % |" for key in longest),
            f"| all | | {whole:.3f} | 100 % |",
            "",
            "| what waits | calls by the loader | others |",
            "| --- | --- | --- |",
            *(f"| {name} | {waits[name, True] / iterations:g} | {waits[name, False] / iterations:g} |" for name in WAITS),
        ]
    )


def main(
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    warm_up: int = 2,
    iterations: int = 2,
    rows: int = 15,
    threads: int = 2,
    trace: str = "",
    report: str = "",
    **overrides: object,
) -> None:
    """Profiles and prints Markdown tables.

    Args:
        roi_size: patch.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        warm_up: iterations before those that are recorded.
        iterations: that are recorded.
        rows: operators in the table.
        threads: of PyTorch.
        trace: JSON file for the whole trace.
        report: Markdown file to write the tables to.
        overrides: keys of the training's config, e.g. --amp False.
    """
    torch.set_num_threads(threads)
    scale = {"roi_size": list(roi_size), "num_filters": num_filters, "spacing": spacing, **overrides}
    result = recorded(warm_up, iterations, trace, **scale)
    text = f"""# An iteration, operator by operator

`python -m benchmarks.step_profile --roi_size "{list(roi_size)}" --num_filters {num_filters}{words(overrides)}`, {threads} threads,
{machine()}; batch 2 + 2; means of {iterations} iterations that do not log, under the profiler.

{tables(result, iterations, rows)}
"""
    print(text)
    if report:
        Path(report).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
