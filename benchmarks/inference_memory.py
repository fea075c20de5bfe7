# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the inference on a 512×512×150 volume, and how it grows with the number of classes.

    python -m benchmarks.inference_memory
    python -m benchmarks.inference_memory --shape "[512,512,800]" --spacing "[0.8,0.8,1.0]" --num_classes "[14]" \
        --compared_up_to 0 --report benchmarks/inference_memory_large.md

Every figure is the largest resident size of one process of MONAI's runner (inference.yaml of scdl_amos, untrained
weights: what is measured does not depend on them), Python and PyTorch included.
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

from benchmarks.study.run import measured
from scdl_components.data.phantom import AMOS_ORGANS, phantom_case
from scdl_components.networks import DualStudent, VNet

CONFIG = Path(__file__).parents[1] / "bundles" / "scdl_amos" / "configs" / "inference.yaml"
OVERLAP = 0.25


def volume(path: Path, shape: Sequence[int], spacing: Sequence[float]) -> None:
    """A phantom's image, cut or padded to exactly ``shape`` voxels of ``spacing`` mm."""
    image = phantom_case(0, (2, 3), AMOS_ORGANS, tuple(spacing))[0]
    data = np.asarray(image.dataobj)
    data = np.pad(data, [(0, max(0, n - have)) for n, have in zip(shape, data.shape)], constant_values=-1024)
    data = data[tuple(slice(0, n) for n in shape)]
    nibabel.save(nibabel.Nifti1Image(data.astype(np.int16), np.diag([*spacing, 1.0])), path)


# what the bundle would do without scdl_components.transforms.InvertArgmaxd
ALL_CLASSES_AT_ONCE = {
    "_target_": "Compose",
    "transforms": [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    ],
}


def peak(folder: Path, num_classes: int, num_filters: int, inversion: object = None) -> dict[str, float]:
    """Seconds and peak memory of the inference with so many classes; ``inversion`` replaces the bundle's."""
    torch.manual_seed(0)
    network = DualStudent(VNet(in_channels=1, out_channels=num_classes, num_filters=num_filters))
    torch.save(network.state_dict(), folder / "model.pt")
    names = {str(c): f"class {c}" for c in range(num_classes)}
    overrides = {
        "dataset_dir": folder / "ct.nii.gz",
        "output_dir": tempfile.mkdtemp(dir=folder),
        "weights": folder / "model.pt",
        "channel_def": names,
        "num_filters": num_filters,
        "overlap": OVERLAP,
        "device": "cpu",
    }
    if inversion is not None:
        overrides["postprocessing#transforms#0"] = inversion
    words = [str(word) for key, value in overrides.items() for word in (f"--{key}", value)]
    return measured(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIG), *words], folder / "run.log"
    )


def main(
    num_classes: Sequence[int] = (2, 8, 16, 32, 64, 117),
    num_filters: int = 16,
    shape: Sequence[int] = (512, 512, 150),
    spacing: Sequence[float] = (0.7, 0.7, 3.0),
    compared_up_to: int = 16,
    report: str = "",
) -> None:
    """Measures and prints a Markdown table.

    Args:
        num_classes: one process for each.
        num_filters: of the V-Nets.
        shape: of the CT, voxels.
        spacing: of the CT, mm.
        compared_up_to: number of classes up to which MONAI's inversion of all classes at once is measured as well.
        report: Markdown file to write the table to.
    """
    command = f'--shape "{list(shape)}" --spacing "{list(spacing)}" --num_classes "{list(num_classes)}"'
    command += f" --num_filters {num_filters} --compared_up_to {compared_up_to}"
    lines = [
        "# Peak memory of inference",
        "",
        f"`python -m benchmarks.inference_memory {command}`:",
        f"one CT of {'×'.join(map(str, shape))} voxels ({' × '.join(map(str, spacing))} mm), resampled to 1.5 × 1.5 × 2 mm, segmented",
        f"on the CPU by two V-Nets of {num_filters} filters, in windows that overlap by {OVERLAP} (`--overlap`; the bundle's own 0.5 has up",
        "to 3.4 times as many), and put back into its grid.",
        "",
        "The label map is made in the patient's grid class by class; the last column is MONAI's `Invertd` and argmax of all",
        "classes at once in its place.",
        "",
        "| classes | peak, GB | above the first row, GB | seconds | all classes at once, GB |",
        "| --- | --- | --- | --- | --- |",
    ]
    first = None
    with tempfile.TemporaryDirectory() as folder:
        volume(Path(folder, "ct.nii.gz"), shape, spacing)
        for number in num_classes:
            cost = peak(Path(folder), number, num_filters)
            memory = cost["peak_memory_mb"] / 1024
            first = memory if first is None else first
            other = "not measured"
            if number <= compared_up_to:
                at_once = peak(Path(folder), number, num_filters, ALL_CLASSES_AT_ONCE)
                other = f"{at_once['peak_memory_mb'] / 1024:.2f}"
            lines.append(f"| {number} | {memory:.2f} | {memory - first:.2f} | {cost['seconds']:.0f} | {other} |")
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if report:
        Path(report).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
