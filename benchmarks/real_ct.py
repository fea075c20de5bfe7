# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle on one real CT: trained on it as labeled and as unlabeled case, then segmented in its own grid.

    make real-ct    (or: python -m benchmarks.real_ct)

It shows that the pipeline works on real voxels. The case is its own training data, so that its Dice says nothing about
other patients.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fire

from benchmarks.measure import CONFIGS, ROOT, monai_run, processor
from scdl_components.tools.relabel import relabel

REAL_CT = ROOT / "tests" / "data" / "real_ct"
SCALE = {"pixdim": [3, 3, 3], "roi_size": [64, 64, 32], "num_filters": 8}


def main(output: str = "demo_output/real_ct", max_iterations: int = 800) -> None:
    """Trains, segments and compares.

    Args:
        output: folder for data, weights, segmentation and report.
        max_iterations: of the training.
    """
    folder = Path(output).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(REAL_CT / "ct.nii.gz", folder / "ct.nii.gz")
    files = REAL_CT / "segmentation.nii.gz", folder / "label.nii.gz", CONFIGS / "metadata.json"
    relabel(*map(str, files))
    case = {"image": "ct.nii.gz", "label": "label.nii.gz"}
    cases = {"labeled": [case], "unlabeled": ["ct.nii.gz"], "test": [case]}
    (folder / "cases.json").write_text(json.dumps(cases))
    start = time.time()
    keys = {"dataset_dir": folder, "case_list": "cases.json", "ckpt_dir": folder, "output_dir": folder, **SCALE}
    keys |= {"labeled_batch_size": 1, "unlabeled_batch_size": 1, "max_iterations": max_iterations, "num_workers": 0}
    keys |= {"scdl": True, "augmentation": []}
    keys |= {"load_cases#allow_overlap": ["labeled", "unlabeled", "test"]}
    subprocess.run(monai_run(["train"], "training", **keys), check=True)
    minutes = (time.time() - start) / 60
    keys = {"dataset_dir": folder / "ct.nii.gz", "output_dir": folder, "weights": folder / "model.pt", **SCALE}
    subprocess.run(monai_run(["inference"], **keys), check=True)
    words = ["--case_list", folder / "cases.json", "--predictions", folder, "--output", folder]
    subprocess.run([sys.executable, "-m", "scdl_components", "evaluate", *map(str, words)], check=True)
    print(f"Dice of its own training case; {max_iterations} iterations, {minutes:.1f} minutes on {processor()}")


if __name__ == "__main__":
    fire.Fire(main)
