# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle on one real CT: trained on it as labelled and as unlabelled case, then segmented in its own grid.

    make real-ct    (or: python -m benchmarks.real_ct)

It shows that the pipeline works on real voxels. The case is its own training data, so that its Dice says nothing about
other patients.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fire

from benchmarks.machine import processor
from scdl_components.data.relabel import relabel

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundles" / "scdl_synapse"
REAL_CT = ROOT / "tests" / "data" / "real_ct"
SCALE = {"pixdim": "[3,3,3]", "roi_size": "[64,64,32]", "num_filters": "8"}


def monai_run(config: str, *arguments: str, **overrides: object) -> None:
    """``python -m monai.bundle run`` of one of the bundle's configs."""
    words = [str(word) for key, value in overrides.items() for word in (f"--{key}", value)]
    command = ["run", *arguments, "--config_file", str(BUNDLE / "configs" / config), *words]
    subprocess.run([sys.executable, "-m", "monai.bundle", *command], check=True)


def main(output: str = "demo_output/real_ct", max_iterations: int = 800, report: str = "benchmarks/real_ct.md") -> None:
    """Trains, segments and compares.

    Args:
        output: folder for data, weights, segmentation and pictures.
        max_iterations: of the training.
        report: Markdown file for the figures.
    """
    folder = Path(output).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(REAL_CT / "ct.nii.gz", folder / "ct.nii.gz")
    relabel(
        str(REAL_CT / "segmentation.nii.gz"), str(folder / "label.nii.gz"), str(BUNDLE / "configs" / "metadata.json")
    )
    case = {"image": "ct.nii.gz", "label": "label.nii.gz"}
    cases = {"labeled": [case], "unlabeled": ["ct.nii.gz"], "test": [case]}
    (folder / "cases.json").write_text(json.dumps(cases))
    start = time.time()
    monai_run(
        "train.yaml",
        "training",
        dataset_dir=folder,
        case_list="cases.json",
        allow_overlap="['labeled','unlabeled','test']",
        ckpt_dir=folder,
        output_dir=folder,
        max_iterations=max_iterations,
        labeled_batch_size=1,
        unlabeled_batch_size=1,
        num_workers=0,
        **SCALE,
    )
    minutes = (time.time() - start) / 60
    monai_run("inference.yaml", dataset_dir=folder / "ct.nii.gz", output_dir=folder, weights=folder / "model.pt", **SCALE)
    preview = ["--case_list", folder / "cases.json", "--predictions", folder, "--output", folder]
    subprocess.run([sys.executable, "-m", "scdl_components.report.preview", *map(str, preview)], check=True)
    Path(report).write_text(
        "# One real CT, trained on and segmented\n\n"
        f"`make real-ct`: {max_iterations} iterations, seed 0, {minutes:.1f} minutes of training on "
        f"{processor()}. The case is its own training data: this shows that the "
        "pipeline works on real voxels and nothing about other patients.\n\n"
        f"```\n{(folder / 'dice.txt').read_text()}```\n"
    )


if __name__ == "__main__":
    fire.Fire(main)
