# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles as a user has them: a copy of the folder, MONAI's runner in a process of its own, real files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

BUNDLES = Path(__file__).parents[2] / "bundles"
REAL_CT = Path(__file__).parents[1] / "data" / "real_ct"
# phantoms and a network so small that an iteration takes milliseconds
TINY = {
    "--pixdim": "[8,8,8]",
    "--roi_size": "[32,32,32]",
    "--num_filters": "2",
    "--num_workers": "0",
    "--val_interval": "3",
    "--max_iterations": "6",
    "--log_interval": "2",
    "--scdl": "true",
    # as published: six iterations of the default leave one class everywhere
    "--network_def#initializers": "['$torch.nn.init.kaiming_normal_','$torch.nn.init.xavier_normal_']",
}
# those of inference, as words of the command line
SCALE = [word for key in ("--pixdim", "--roi_size", "--num_filters", "--num_workers") for word in (key, TINY[key])]


def copy_bundle(folder: Path, name: str = "scdl_synapse") -> Path:
    """A bundle as it is shared: without what runs have left in it."""
    ignored = shutil.ignore_patterns("models", "eval", "data")
    return Path(shutil.copytree(BUNDLES / name, folder / name, ignore=ignored))


def run_monai(*args: str, cwd: Path, check: bool = True) -> str:
    """Output of ``python -m monai.bundle <args>``."""
    result = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *map(str, args)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert not check or result.returncode == 0, result.stdout
    assert check or result.returncode != 0, result.stdout
    return result.stdout


def options(**overrides: object) -> list[str]:
    """Command-line overrides of the tiny scale; None leaves a key of it out."""
    merged = {**TINY, **{f"--{key}": value for key, value in overrides.items()}}
    return [str(word) for pair in merged.items() if pair[1] is not None for word in pair]
