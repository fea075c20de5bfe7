# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""How time and memory of a training iteration grow with patch, classes, tokens and processes: tables and a picture.

    python -m benchmarks.growth --report benchmarks/growth.md
    python -m benchmarks.growth --device cuda --num_filters 16 --base "{'edge': 96}" --report benchmarks/growth_gpu.md

The bundle's own training on phantoms. One setting at a time is changed around a base; each is run in a process of its
own (processes: started by torchrun), all settings once in each round, so that a slow minute of the machine meets all.
Memory is the peak during the iterations less what the process held before the first: of a CPU its resident set (read
from Linux's /proc), of a GPU what PyTorch has allocated. Parts of an iteration are timed by events in a GPU's own order
of work, which is waited for between iterations, as the bundle itself does not; precision is the bundle's, mixed on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import fire
import torch
from monai.utils import ensure_tuple

from benchmarks.growth_report import AXES, Cost, Setting, picture, table
from benchmarks.growth_step import organs_of
from benchmarks.machine import machine
from benchmarks.step_time import phantoms
from scdl_components.errors import InputError

ROOT = Path(__file__).parents[1]


def around(base: Setting, values: Mapping[str, Sequence[int]]) -> dict[str, list[Setting]]:
    """Settings of each axis, small ones first, the base among them."""
    return {
        name: sorted({base, *(base._replace(**{name: value}) for value in ensure_tuple(values[name]))}, key=axis.size)
        for name, axis in AXES.items()
    }


def measure(setting: Setting, data: Path, device: str, threads: int, **scale: float) -> Cost:
    """One run of a setting.

    Args:
        setting: what to run.
        data: where the phantoms are, in a folder for each number of organs.
        device: "cpu" or "cuda".
        threads: of each process.
        scale: further arguments of benchmarks.growth_step.

    Raises:
        RuntimeError: when it fails; with what it wrote.
    """
    start = [sys.executable]
    if setting.ranks > 1:
        start += ["-m", "torch.distributed.run", "--nproc_per_node", str(setting.ranks)]
        start += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]  # a free port
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # the bundle takes a GPU where it sees one
    with tempfile.TemporaryDirectory(dir=data) as folder:
        words = {**setting._asdict(), **scale, "threads": threads}
        words |= {"data": phantom_folder(data, setting), "folder": folder}
        del words["ranks"]
        command = [*start, "-m", "benchmarks.growth_step", *(f"--{name}={value}" for name, value in words.items())]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{setting} failed:\n{run.stdout}\n{run.stderr}")
        ranks = [Cost(**json.loads(Path(folder, f"{rank}.json").read_text())) for rank in range(setting.ranks)]
    return ranks[0]._replace(megabytes=max(cost.megabytes for cost in ranks))


def phantom_folder(data: Path, setting: Setting) -> Path:
    """Where the phantoms of a setting are: with few classes, few organs have labels."""
    return data / f"{len(organs_of(setting.classes))}_organs"


def main(
    edge: Sequence[int] = (32, 48, 64, 80, 96),
    classes: Sequence[int] = (2, 14, 32, 64, 117),
    voxels_per_token: Sequence[int] = (8, 4, 2),
    ranks: Sequence[int] = (1, 2),
    base: Mapping[str, int] | None = None,
    num_filters: int = 8,
    spacing: float = 2.0,
    rounds: int = 3,
    iterations: int = 6,
    warm_up: int = 2,
    threads: int = 1,
    device: str = "cpu",
    report: str = "",
) -> None:
    """Measures and prints Markdown tables.

    Args:
        edge: patch edges, voxels, multiples of 16.
        classes: numbers of classes, background included; the phantoms have voxels of 14.
        voxels_per_token: edges of a token.
        ranks: numbers of processes that share a batch; on GPUs, of which each needs one, no more than there are.
        base: what differs from the base, 48³ voxels, 14 classes, tokens of 4³ voxels, 1 process; e.g. {'edge': 96}.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        rounds: runs of each setting.
        iterations: recorded in each run.
        warm_up: iterations before them.
        threads: of each process.
        device: cpu or cuda.
        report: Markdown file to write the tables to; the picture is written beside it.

    Raises:
        InputError: for a device that is not there.
    """
    num_gpus = torch.cuda.device_count()
    if device not in ("cpu", "cuda") or (device == "cuda" and not num_gpus):
        raise InputError(f"--device {device}: expected cpu, or cuda where PyTorch sees a GPU; it sees {num_gpus}")
    ranks = [number for number in ensure_tuple(ranks) if device == "cpu" or number <= num_gpus]
    start = Setting(**(base or {}))
    values = {"edge": edge, "classes": classes, "voxels_per_token": voxels_per_token, "ranks": ranks}
    axes = around(start, values)
    costs: dict[Setting, list[Cost]] = {setting: [] for settings in axes.values() for setting in settings}
    scale = {"num_filters": num_filters, "spacing": spacing, "iterations": iterations, "warm_up": warm_up}
    with tempfile.TemporaryDirectory() as folder:
        for setting in costs:
            phantoms(phantom_folder(Path(folder), setting), spacing, organs_of(setting.classes))
        for number in range(rounds):
            for setting in costs:
                costs[setting].append(measure(setting, Path(folder), device, threads, **scale))
                print(f"round {number + 1}: {setting}: {costs[setting][-1]}", flush=True)
    tables = "\n\n".join(table(name, settings, costs, start) for name, settings in axes.items())
    command = f"--device {device} --num_filters {num_filters} --rounds {rounds} --iterations {iterations}"
    base_text = (
        f"{start.edge}³ voxels, {start.classes} classes, {start.tokens:,} tokens a volume "
        f"(of {start.voxels_per_token}³ voxels each), {start.ranks} process{'es' * (start.ranks > 1)}"
    )
    text = f"""# How a training iteration grows

`python -m benchmarks.growth {command}`, {threads} thread(s) a process,
{machine(device == "cuda")}; batch 2 + 2 over all processes.

Base: {base_text}; one of these is changed at a time.
Each setting in a process of its own, {rounds} times, all settings in turn: medians, in brackets the extremes.
Memory: peak of a process during the iterations less what it held before the first. A class beyond the 14 of the
phantoms has no voxels.

{tables}
"""
    if report:
        path = Path(report)
        text += f"\n![time and memory over each size]({path.with_suffix('.png').name})\n"
        picture(axes, costs, start, path.with_suffix(".png"))
        path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    fire.Fire(main)
