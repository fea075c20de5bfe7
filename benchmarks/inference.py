# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inference: peak memory on a whole CT by number of classes, and sliding windows against the networks' own work.

python -m benchmarks.inference memory
python -m benchmarks.inference memory --shape "[512,512,800]" --spacing "[0.8,0.8,1.0]" --num_classes "[14]"
python -m benchmarks.inference windows
"""

import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import fire
import nibabel
import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data.utils import dense_patch_slices

from benchmarks.measure import CONFIGS, clock, figures, machine, measured, monai_run, show
from benchmarks.plain_loop import segment
from scdl_components.networks import DualStudent, VNet
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
    """Measures the sliding window over a volume of noise, the networks' own time within it, and a plain loop.

    The volume is twice the window in each direction; networks, windows and arithmetic are the same on both sides. The
    bundle does what it does by default: windows two at a time, memory reused, channels last; mixed
    precision on a GPU.

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
    # as the plain loop: probabilities, all voxels of a window alike
    keys |= {
        "bundle_root": str(CONFIGS.parent),
        "window_weights": "constant",
        "window_activation": "$torch.nn.Softmax(dim=1)",
        **overrides,
    }
    config = str(CONFIGS / "inference.yaml")
    run = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **keys)
    run.initialize()
    inferer = run.inferer
    names = ("network", "device", "amp", "amp_dtype")
    network, device, amp, dtype = (run.parser.get_parsed_content(name) for name in names)
    device = torch.device(device)
    image = np.random.default_rng(0).random([2 * n for n in roi_size], np.float32)
    volume = torch.from_numpy(image)[None, None].to(device)
    steps = [int(n * (1 - inferer.overlap)) for n in roi_size]
    places = dense_patch_slices(image.shape, tuple(roi_size), steps)
    times: dict[str, list[float]] = {"networks": [], "windows": [], "volume": [], "plain": []}

    def timed(windows: torch.Tensor) -> torch.Tensor:
        start = clock(device)
        result = network(windows)
        times["networks"][-1] += clock(device) - start
        return result

    with torch.no_grad():
        for _ in range(5):  # running statistics that belong to such images
            network.train()(torch.cat([volume[(..., *place)] for place in places[:2]]))
        network.eval()
        plain_network = deepcopy(network).to(memory_format=torch.contiguous_format)
        for _ in range(repeats + 1):
            times["networks"].append(0.0)
            start = clock(device)
            with torch.autocast(device.type, dtype, enabled=amp):  # as MONAI's evaluator
                score = inferer(volume, timed)
            times["windows"].append(clock(device) - start)
            labels = score[0].argmax(0).cpu().numpy()
            times["volume"].append(clock(device) - start)
            start = clock(device)
            same = np.mean(segment(plain_network, image, places, score.shape[1]) == labels)
            times["plain"].append(clock(device) - start)
    times = {name: values[1:] for name, values in times.items()}  # in the first one the process's memory still grows
    print(
        f"{len(places)} windows of {roi_size}, {num_filters} filters, {repeats} volumes, {threads} threads, {machine()}"
    )
    rows = [figures("the networks alone", times["networks"])]
    rows += [figures("the bundle, over the networks", times["windows"], times["networks"])]
    rows += [figures("a plain loop, over the bundle with labels", times["plain"], times["volume"])]
    show(rows + [{"what": "voxels with the same label", "ratio": f"{same:.6f}"}], output)


if __name__ == "__main__":
    fire.Fire({"memory": memory, "windows": windows})
