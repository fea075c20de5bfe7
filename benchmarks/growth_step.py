# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""One setting of benchmarks.growth, in a process of its own (under torchrun: in each of several)."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

import fire
import torch

from benchmarks.scdl_cost import resident_megabytes
from benchmarks.step_time import record_parts, workflow
from scdl_components.data.phantom import SYNAPSE_ORGANS


def organs_of(num_classes: int) -> tuple[str, ...]:
    """Organs that phantoms have labels of where there are so many classes, background included."""
    return SYNAPSE_ORGANS[: num_classes - 1]


def channel_def(num_classes: int) -> dict[str, str]:
    """Names of the classes; those beyond the phantom's organs have no voxels."""
    organs = organs_of(num_classes)
    names = ["background", *organs, *(f"class {c}" for c in range(len(organs) + 1, num_classes))]
    return {str(c): name for c, name in enumerate(names)}


def begin_peak(device: torch.device) -> float:
    """MB that are taken now; what :func:`peak` tells counts from here. Linux alone knows it of a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return resident_megabytes("VmRSS")


def peak(device: torch.device) -> float:
    """Most MB taken since :func:`begin_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resident_megabytes("VmHWM")


def main(
    data: str,
    folder: str,
    edge: int,
    classes: int,
    voxels_per_token: int,
    num_filters: int,
    spacing: float,
    iterations: int,
    warm_up: int,
    threads: int,
) -> None:
    """Trains a few iterations and writes what they cost to ``folder/<rank>.json``.

    Args:
        data: folder of the phantoms (benchmarks.step_time.phantoms).
        folder: of this run alone.
        edge: of the patch, voxels.
        classes: background included.
        voxels_per_token: edge of a token.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        iterations: recorded; rounded up so that passes over the cases are whole.
        warm_up: iterations before them.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    run = workflow(
        data,
        spacing,
        organs_of(classes),
        overlays=["multi_gpu_train"] if int(os.environ.get("WORLD_SIZE", 1)) > 1 else [],
        ckpt_dir=folder,
        output_dir=folder,
        roi_size=[edge] * 3,
        num_filters=num_filters,
        channel_def=channel_def(classes),
        voxels_per_token=voxels_per_token,
        max_iterations=warm_up + iterations,
        val_interval=10**6,
    )
    trainer = run.trainer
    device = torch.device(trainer.state.device)
    times = record_parts(trainer, warm_up)
    before = begin_peak(device)
    trainer.run()
    cost = {
        "seconds": statistics.median(times["iteration"]),
        "losses": statistics.median(times["losses, forward"]),
        "megabytes": peak(device) - before,
    }
    Path(folder, f"{os.environ.get('RANK', 0)}.json").write_text(json.dumps(cost))
    run.finalize()


if __name__ == "__main__":
    fire.Fire(main)
