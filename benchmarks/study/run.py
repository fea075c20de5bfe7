# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates the grid, run by run; a finished run is kept, an interrupted one starts again.

    python -m benchmarks.study.run --folder study                       # the main methods, three seeds, on a CPU
    python -m benchmarks.study.run --folder study --background true     # goes on when the terminal is closed
    python -m benchmarks.study.run --folder study --methods "['scdl_no_sac']" --seeds "[0]"
    python -m benchmarks.study.run --folder mine --dataset_dir /data/btcv --case_list my_list.json --scale gpu

Defaults are tuned on phantoms and seeds that are never reported:

    python -m benchmarks.study.run --folder tuning --cases validation --seeds "[100,101]" --dataset_dir#seed 1
        --dataset_dir#num_validation 8 --methods "['cps_ga','scdl','prototype_published','prototype']"

Every run is two calls of MONAI's runner with overrides of the bundle's configs: its training, and its evaluation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.study.methods import CANDIDATES, MAIN, METHODS
from scdl_components.command import run_command
from scdl_components.errors import InputError
from scdl_components.report.cases import listed_cases

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundles" / "scdl_synapse" / "configs"
GRID = METHODS | CANDIDATES
# what a size of the study sets in all methods alike
SCALES: dict[str, dict[str, object]] = {
    "cpu": {
        "dataset_dir#spacing": [4.0, 4.0, 5.0],
        "dataset_dir#num_validation": 4,
        "dataset_dir#num_test": 8,
        "pixdim": [4.0, 4.0, 5.0],
        "roi_size": [32, 32, 32],
        "num_filters": 8,
        "voxels_per_token": 2,
        "embed_dim": 32,
        "max_iterations": 1500,
        "val_interval": 250,
    },
    "gpu": {
        "dataset_dir#spacing": [1.5, 1.5, 2.0],
        "dataset_dir#num_validation": 4,
        "dataset_dir#num_test": 8,
        "pixdim": [1.5, 1.5, 2.0],
        "roi_size": [96, 96, 96],
        "num_filters": 16,
        "voxels_per_token": 4,
        "embed_dim": 64,
        "max_iterations": 6000,
        "val_interval": 500,
        "num_workers": 2,
    },
}
# these make the data or belong to training; inference has no use for them
NOT_OF_INFERENCE = ("max_iterations", "val_interval", "voxels_per_token", "embed_dim", "num_workers")


def command(configs: Sequence[str], overrides: Mapping[str, object]) -> list[str]:
    """``python -m monai.bundle run`` of some of the bundle's configs."""
    files = "[" + ",".join(f"'{CONFIGS / name}.yaml'" for name in configs) + "]"
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *words]


def measured(words: Sequence[str], log: Path) -> dict[str, float]:
    """Runs a command with its output in a file; its wall time and peak memory.

    Raises:
        RuntimeError: when it fails; the message names the log.
    """
    start = time.time()
    with log.open("w") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"a run failed, see {log}")
    return {"seconds": time.time() - start, "peak_memory_mb": usage.ru_maxrss / 1024}


def own_data(settings: Mapping[str, object]) -> bool:
    """Whether runs with these overrides are of a dataset of the user's instead of phantoms."""
    return "dataset_dir" in settings


def settings_of(scale: str, overrides: Mapping[str, object]) -> dict[str, object]:
    """Overrides of all runs: those of the scale, but for the phantoms' where there are data, and the user's."""
    keys = {**SCALES[scale], **overrides}
    return {key: value for key, value in keys.items() if not (own_data(keys) and key.startswith("dataset_dir#"))}


def cases_of(settings: Mapping[str, object], cases: str) -> list[dict[str, str]]:
    """Items of one list of a dataset of the user's.

    Raises:
        InputError: as training would raise it: there is no such list, it is empty, or a case lacks its files.
    """
    keys = {key: settings[key] for key in ("dataset_dir", "case_list", "labeled_percent") if key in settings}
    return listed_cases(str(CONFIGS / "train.yaml"), cases, bundle_root=str(CONFIGS.parent), **keys)


def check_same(folder: Path, overrides: Mapping[str, str], cases: str) -> None:
    """Refuses a finished run that is not the one asked for; a folder that was moved is the same."""
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    found, wanted = ({**keys, "cases": name} for keys, name in ((done["overrides"], done["cases"]), (overrides, cases)))
    places = {"dataset_dir#output_dir", "ckpt_dir", "output_dir"}
    other = sorted(key for key in (found.keys() | wanted.keys()) - places if found.get(key) != wanted.get(key))
    if other:
        raise InputError(f"{folder} is finished, with other keys: {', '.join(other)}. Give another --folder, or delete it")


def run_one(folder: Path, data: Path, method: str, seed: int, num_labeled: int, settings: dict, cases: str) -> None:
    """One training and its evaluation in ``folder``; ``done.json`` is written last.

    Raises:
        InputError: there is a finished run with other keys.
    """
    overlay, common = [], settings
    if not own_data(settings):
        overlay = ["phantom"]
        numbers = {"dataset_dir#num_labeled": num_labeled, "dataset_dir#num_unlabeled": 16 - num_labeled}
        common = {"dataset_dir#output_dir": data, "dataset_dir#seed": 0, **numbers, **settings}
    training = {**common, **GRID[method], "seed": seed, "ckpt_dir": folder / "models", "output_dir": folder / "logs"}
    overrides = {key: str(value) for key, value in training.items()}
    if (folder / "done.json").is_file():
        check_same(folder, overrides, cases)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    training_cost = measured(command(["train", *overlay], training), folder / "train.log")
    evaluation = {key: value for key, value in common.items() if key not in NOT_OF_INFERENCE}
    evaluation |= {"weights": folder / "models" / "model.pt", "output_dir": folder / "segmentations", "cases": cases}
    evaluation |= {"report_dir": folder / "report", "progress": False}
    # the network's own keys belong to both
    evaluation |= {key: value for key, value in GRID[method].items() if key.startswith("network_def")}
    measured(command(["inference", "evaluate", *overlay], evaluation), folder / "evaluate.log")
    done = {"method": method, "seed": seed, "num_labeled": num_labeled, "cases": cases, "training": training_cost}
    # the defaults that the overrides stand on are those of a commit
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done["commit"] = subprocess.run(describe, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    done["overrides"] = overrides
    temporary = folder / "done.part"
    temporary.write_text(json.dumps(done, indent=2))
    os.replace(temporary, folder / "done.json")


def main(
    folder: str,
    methods: Sequence[str] = MAIN,
    seeds: Sequence[int] = (0, 1, 2),
    num_labeled: Sequence[int] | None = None,
    scale: str = "cpu",
    cases: str = "test",
    background: bool = False,
    **overrides: object,
) -> None:
    """Runs what of the grid is not done yet.

    Args:
        folder: of all runs: ``<folder>/<num_labeled>_labeled/<method>/seed_<seed>``.
        methods: names of methods.py.
        seeds: of initialisation, crops and order of cases; the phantoms are the same for all.
        num_labeled: labelled ones of the 16 training phantoms, by default 2; of a dataset's cases, those of its list.
        scale: "cpu" or "gpu".
        cases: list that is reported: test, or validation while tuning.
        background: start it as a process of its own, with its output in ``<folder>/study.log``.
        overrides: keys of the configs for all runs, e.g. --max_iterations 300; with ``dataset_dir`` the runs are of the
            cases there, by ``case_list`` or ``labeled_percent``.

    Raises:
        InputError: a method or scale is unknown, or a dataset's cases cannot be found.
    """
    unknown = set(methods) - set(GRID)
    if unknown or scale not in SCALES:
        raise InputError(f"unknown: {sorted(unknown) or scale}; methods are {list(GRID)}, scales {list(SCALES)}")
    settings = settings_of(scale, overrides)
    if own_data(settings) and num_labeled:
        raise InputError("num_labeled is of phantoms; a dataset's labelled cases are those of its case list")
    num_labeled = [len(cases_of(settings, "labeled"))] if own_data(settings) else num_labeled or [2]
    root = Path(folder).resolve()
    root.mkdir(parents=True, exist_ok=True)
    if background:
        arguments = {"folder": root, "methods": list(methods), "seeds": list(seeds)}
        arguments |= {} if own_data(settings) else {"num_labeled": list(num_labeled)}
        arguments |= {"scale": scale, "cases": cases, **overrides}
        words = [word for key, value in arguments.items() for word in (f"--{key}", str(value))]
        with (root / "study.log").open("a") as log:
            again = [sys.executable, "-m", "benchmarks.study.run", *words]
            process = subprocess.Popen(again, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        print(f"process {process.pid}; progress in {root / 'study.log'}")
        return
    # seed by seed, so that an early look compares all methods
    for seed in seeds:
        for number in num_labeled:
            for method in methods:
                place = root / f"{number}_labeled" / method / f"seed_{seed}"
                start = time.time()
                run_one(place, root / f"phantoms_{number}_labeled", method, seed, number, settings, cases)
                print(f"{place.relative_to(root)}: done, {(time.time() - start) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    run_command(main)
