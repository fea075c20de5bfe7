# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates methods × seeds; a finished run is kept, an interrupted one goes on.

    python -m benchmarks.study.run --folder study                       # the main methods, three seeds, on a CPU
    python -m benchmarks.study.run --folder study --methods "{'weight_3':{'scdl':True,'scdl_weight':3.0}}" --seeds "[0]"
    python -m benchmarks.study.run --folder mine --dataset_dir /data/btcv --case_list my_list.json --scale gpu
    python -m benchmarks.study.run --folder long --max_iterations 4500 --val_interval 500   # does a method fall later?

Every run is two calls of MONAI's runner with overrides of the bundle's configs: its training, and its evaluation.
"""

import itertools
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

from monai.bundle import ConfigParser

from benchmarks.measure import CONFIGS, ROOT, measured, monai_run
from benchmarks.study.methods import MAIN, METHODS, OF_INFERENCE, SCALES
from scdl_components.command import run_command
from scdl_components.errors import InputError
from scdl_components.report.cases import listed_cases

Method = Mapping[str, object]


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


def keys_of(configs: Sequence[str], overrides: Mapping[str, object]) -> dict[str, object]:
    """Those of a training's overrides that other configs have as well, e.g. the network's."""
    parser = ConfigParser()
    parser.read_config([CONFIGS / f"{name}.yaml" for name in configs])
    return {key: value for key, value in overrides.items() if key.split("#")[0] in parser.get()}


def check_same(folder: Path, overrides: Mapping[str, str], cases: str) -> None:
    """Refuses a finished run that is not the one asked for; a folder that was moved is the same."""
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    found, wanted = ({**keys, "cases": name} for keys, name in ((done["overrides"], done["cases"]), (overrides, cases)))
    places = {"dataset_dir#output_dir", "ckpt_dir", "output_dir"}
    other = sorted(key for key in (found.keys() | wanted.keys()) - places if found.get(key) != wanted.get(key))
    if other:
        names = ", ".join(other)
        raise InputError(f"{folder} is finished, with other keys: {names}. Give another --folder, or delete it")


def run_one(
    folder: Path, data: Path, method: Method, seed: int, labels: Mapping[str, int], settings: dict, cases: str
) -> None:
    """Trains once and evaluates the best validated weights in ``folder``; ``done.json`` is written last.

    ``labels`` are num_labeled and, of phantoms, num_unlabeled.

    Raises:
        InputError: there is a finished run with other keys.
        RuntimeError: training or evaluation failed; the message names the log.
    """
    phantom, common = [], settings
    if not own_data(settings):
        phantom = ["phantom"]
        numbers = {f"dataset_dir#{name}": number for name, number in labels.items()}
        common = {"dataset_dir#output_dir": data, "dataset_dir#seed": 0, **numbers, **settings}
    training = {**common, **method, "seed": seed, "ckpt_dir": folder / "models", "output_dir": folder / "logs"}
    overrides = {key: str(value) for key, value in training.items()}
    if (folder / "done.json").is_file():
        check_same(folder, overrides, cases)
        return
    folder.mkdir(parents=True, exist_ok=True)
    # the defaults that the overrides stand on are those of a commit
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    overlays = training.pop("overlays", [])
    cost = measured(monai_run(["train", *overlays, *phantom], **training), folder / "train.log")
    configs = ["inference", "evaluate", *(name for name in overlays if name in OF_INFERENCE), *phantom]
    evaluation = keys_of(configs, training)
    evaluation |= {"weights": folder / "models" / "model.pt", "output_dir": folder / "segmentations", "cases": cases}
    evaluation |= {"report_dir": folder / "report", "progress": False}
    measured(monai_run(configs, **evaluation), folder / "evaluate.log")
    done = {"seed": seed, "num_labeled": labels["num_labeled"], "cases": cases, "training": cost, "commit": commit}
    done |= {"own_keys": list(method), "overrides": overrides}
    (folder / "done.part").write_text(json.dumps(done, indent=2))
    os.replace(folder / "done.part", folder / "done.json")


def chosen(methods: Sequence[str] | Mapping[str, Method], scale: str) -> dict[str, Method]:
    """Methods by name, of methods.py or given with their keys.

    Raises:
        InputError: a method or the scale is unknown.
    """
    if isinstance(methods, Mapping):
        found = {str(name): keys for name, keys in methods.items()}
    else:
        names = [methods] if isinstance(methods, str) else methods
        found = {name: METHODS.get(name) for name in names}
    unknown = [name for name, keys in found.items() if not isinstance(keys, Mapping)]
    if unknown or scale not in SCALES:
        raise InputError(
            f"unknown: {unknown or scale}; methods are {list(METHODS)}, or {{name: {{key: value}}}}; "
            f"scales are {list(SCALES)}"
        )
    return found


def main(
    folder: str,
    methods: Sequence[str] | Mapping[str, Method] = MAIN,
    seeds: Sequence[int] = (0, 1, 2),
    num_labeled: Sequence[int] | None = None,
    scale: str = "cpu",
    cases: str = "test",
    jobs: int = 1,
    **overrides: object,
) -> None:
    """Runs what of methods × seeds is not done yet.

    Args:
        folder: of all runs: ``<folder>/<num_labeled>_labeled/<method>/seed_<seed>``.
        methods: names of methods.py, or {name: {key of train.yaml: value}}, "overlays" for configs behind it.
        seeds: of initialisation, crops and order of cases; the phantoms are the same for all.
        num_labeled: labeled ones of the training phantoms (--num_training, by default 16), by default 2; of a dataset's
            cases, those of its list.
        scale: "cpu", "room" or "gpu".
        cases: list that is reported: test, or validation while tuning.
        jobs: runs at a time.
        overrides: keys of the configs for all runs, e.g. --max_iterations 300; with ``dataset_dir`` the runs are of the
            cases there, by ``case_list`` or ``labeled_percent``.

    Raises:
        InputError: a method or scale is unknown, or a dataset's cases cannot be found.
    """
    grid, settings = chosen(methods, scale), settings_of(scale, overrides)
    if own_data(settings) and num_labeled:
        raise InputError("num_labeled is of phantoms; a dataset's labeled cases are those of its case list")
    num_labeled = [len(cases_of(settings, "labeled"))] if own_data(settings) else num_labeled or [2]
    root, num_training = Path(folder).resolve(), int(settings.pop("num_training", 16))

    def run(seed: int, number: int, name: str) -> None:
        place, start = root / f"{number}_labeled" / name / f"seed_{seed}", time.time()
        labels = {"num_labeled": number, "num_unlabeled": num_training - number}
        run_one(place, root / f"phantoms_{number}_labeled", grid[name], seed, labels, settings, cases)
        print(f"{place.relative_to(root)}: done, {(time.time() - start) / 60:.1f} minutes", flush=True)

    with ThreadPool(jobs) as pool:
        # seed by seed, so that an early look compares all methods
        pool.starmap(run, itertools.product(seeds, num_labeled, grid), chunksize=1)


if __name__ == "__main__":
    run_command(main)
