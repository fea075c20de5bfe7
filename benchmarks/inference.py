# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inference: peak memory on a whole CT by number of classes, and sliding windows against the networks' own work.

python -m benchmarks.inference memory
python -m benchmarks.inference memory --shape "[512,512,800]" --spacing "[0.8,0.8,1.0]" --num_classes "[14]"
python -m benchmarks.inference windows
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import fire
import nibabel
import numpy as np
import torch
from monai.bundle import ConfigWorkflow

from benchmarks.measure import CONFIGS, clock, figures, machine, measured, monai_run, seconds, show
from scdl_components.networks import DualStudent, VNet, fold_batch_norm
from scdl_components.phantom import AMOS_ORGANS, phantom_case


def ct(path: Path, shape: Sequence[int], spacing: Sequence[float]) -> None:
    """Writes a phantom's image, cut or padded to exactly ``shape`` voxels of ``spacing`` mm."""
    data = np.asarray(phantom_case(0, (2, 3), AMOS_ORGANS, tuple(spacing))[0].dataobj)
    data = np.pad(data, [(0, max(0, n - have)) for n, have in zip(shape, data.shape)], constant_values=-1024)
    data = data[tuple(slice(0, n) for n in shape)]
    nibabel.save(nibabel.Nifti1Image(data.astype(np.int16), np.diag([*spacing, 1.0])), path)


def memory(
    num_classes: Sequence[int] = (2, 16, 32, 64, 117),
    num_filters: int = 16,
    shape: Sequence[int] = (512, 512, 150),
    spacing: Sequence[float] = (0.7, 0.7, 3.0),
    overlap: float = 0.25,
    output: str = "",
    **overrides: object,
) -> None:
    """Measures a process of MONAI's runner for each number of classes, with untrained weights, on the CPU.

    Memory is the largest resident size of the process, Python and PyTorch included.

    Args:
        num_classes: one process for each.
        num_filters: of the V-Nets.
        shape: of the CT, voxels.
        spacing: of the CT, mm.
        overlap: of the windows; the bundle's own 0.5 has up to 3.4 times as many as 0.25.
        output: CSV to write the table to.
        overrides: further keys of inference.yaml.
    """
    print(f"{shape} voxels of {spacing} mm, {num_filters} filters, overlap {overlap}; {machine()}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ct(place / "ct.nii.gz", shape, spacing)
        for number in num_classes:
            torch.manual_seed(0)
            torch.save(DualStudent(VNet(1, number, num_filters)).state_dict(), place / "model.pt")
            keys = {"dataset_dir": place / "ct.nii.gz", "output_dir": tempfile.mkdtemp(dir=folder), "device": "cpu"}
            keys |= {"weights": place / "model.pt", "num_filters": num_filters, "overlap": overlap}
            keys |= {"class_names": [f"class {c}" for c in range(number)], **overrides}
            try:
                cost = measured(monai_run(["inference"], **keys), place / "run.log")
            except RuntimeError:  # the folder is about to go
                sys.exit((place / "run.log").read_text())
            gigabytes = f"{cost['peak_memory_mb'] / 1024:.2f}"
            rows.append({"classes": number, "peak memory, GB": gigabytes, "seconds": f"{cost['seconds']:.0f}"})
            print(rows[-1], flush=True)
    show(rows, output)


def windows(
    repeats: int = 3,
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    threads: int = 2,
    output: str = "",
    **overrides: object,
) -> None:
    """Measures the sliding window over a volume of noise, and the networks' own time within it.

    The volume is twice the window in each direction. The bundle does what it does by default: windows two at a time,
    memory reused, channels last, batch norm folded; mixed precision on a GPU.

    Args:
        repeats: volumes.
        roi_size: window.
        num_filters: of the V-Nets.
        threads: of PyTorch.
        output: CSV to write the table to.
        overrides: keys of inference.yaml.
    """
    torch.set_num_threads(threads)
    keys = {"roi_size": list(roi_size), "num_filters": num_filters, "progress": False, "load_pretrain": False}
    config = str(CONFIGS / "inference.yaml")
    run = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **keys, **overrides)
    run.initialize()
    inferer = run.inferer
    names = ("network", "device", "amp", "amp_dtype")
    network, device, amp, dtype = (run.parser.get_parsed_content(name) for name in names)
    device = torch.device(device)
    volume = torch.rand((1, 1, *(2 * n for n in roi_size)), generator=torch.Generator().manual_seed(0)).to(device)
    folded = fold_batch_norm(network.eval())
    whole, alone, counts = [], [], []

    def timed(windows: torch.Tensor) -> torch.Tensor:
        start = clock(device)
        result = folded(windows)
        alone[-1] += clock(device) - start
        counts[-1] += len(windows)
        return result

    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=amp):  # as MONAI's evaluator
        for _ in range(repeats + 1):
            alone.append(0.0)
            counts.append(0)
            whole.append(seconds(lambda: inferer(volume, timed), device))
    whole, alone = whole[1:], alone[1:]  # in the first one the process's memory still grows
    print(
        f"{counts[0]} windows of {roi_size}, {num_filters} filters, {repeats} volumes, {threads} threads, {machine()}"
    )
    rows = [figures("the networks alone", alone), figures("the bundle, over the networks", whole, alone)]
    show(rows, output)


if __name__ == "__main__":
    fire.Fire({"memory": memory, "windows": windows})
