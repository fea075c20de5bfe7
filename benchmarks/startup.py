# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds from the command to the end of the first iteration, on 40 cases: without a cache folder, filling it, with it.

    python -m benchmarks.startup --folder startup --report benchmarks/startup.md

The user's command in a process of its own each time, the three in turn, with a network so small that its iteration
takes no time. A further config notes when each part is over and ends the process after the first iteration.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fire
import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events

from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundles" / "scdl_synapse"
STAMPS = "STARTUP_STAMPS"
WAYS = {"no cache folder": None, "cache folder, empty": "cold", "cache folder, filled": "warm"}
SMALL = {"num_filters": 2, "roi_size": [32, 32, 32], "voxels_per_token": 4, "num_workers": 0}
# part of a start -> what of the config it takes
PARTS = {
    "imports, config": None,
    "look for a checkpoint": "@start",
    "input check": "$@check.run()",
    "preprocessed cases": ["@train#dataset", "@train#unlabeled_dataset", "@validate#dataset"],
    "networks, losses, first iteration": "$@train#trainer.run()",
}


def stamp(name: str) -> None:
    """Notes that a part is over now."""
    with open(os.environ[STAMPS], "a", encoding="utf-8") as file:
        file.write(json.dumps([name, time.time()]) + "\n")


class EndAfterFirstIteration:
    """Handler: notes the end of the last part and ends the process."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        stamp(list(PARTS)[-1])
        os._exit(0)


def overlay() -> dict:
    """Config behind train.yaml: the same run, with stamps between its parts."""
    run: list = [{"_target_": "scdl_components.errors.show_user_errors"}]
    for name, step in PARTS.items():
        steps = step if isinstance(step, list) else [step] if step else []
        run += [*steps, {"_target_": "benchmarks.startup.stamp", "name": name}]
    return {"run": run, "+train#handlers": [{"_target_": "benchmarks.startup.EndAfterFirstIteration"}]}


def start(data: Path, folder: Path, cache_dir: Path | None) -> dict[str, float]:
    """Seconds of each part of one start."""
    work = Path(tempfile.mkdtemp(dir=folder))
    (work / "overlay.json").write_text(json.dumps(overlay()))
    files = [str(BUNDLE / "configs" / "train.yaml"), str(work / "overlay.json")]
    keys = {"dataset_dir": data, "case_list": "case_list.json", "cache_dir": cache_dir or False, **SMALL}
    keys |= {"ckpt_dir": work, "output_dir": work}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(files)]
    command += [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    times = [time.time()]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, STAMPS: str(work / "stamps")}, check=True, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in (work / "stamps").read_text().splitlines()]
    shutil.rmtree(work)
    times += [moment for _, moment in lines]
    return {name: end - begin for (name, _), begin, end in zip(lines, times, times[1:])}


def one_ct(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds that each step takes for one image of a clinical CT's size, in this process, in turn."""
    from monai.bundle import ConfigParser
    from monai.transforms import Compose, convert_to_contiguous

    from scdl_components.data.cache import CaseCache
    from scdl_components.data.cache_key import digest_case
    from scdl_components.data.facts import read_facts

    path = folder / "ct.nii.gz"
    x, y = np.ogrid[-1:1:512j, -1:1:512j]
    body = (x**2 + y**2 < 0.7)[..., None]
    noise = np.random.default_rng(0).normal(40, 20, (512, 512, 130))
    nib.save(nib.Nifti1Image(np.where(body, noise, -1000).astype(np.int16), np.diag([0.75, 0.75, 3.3, 1])), path)
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.yaml"))
    preprocess = Compose(parser.get_parsed_content("train#deterministic_transforms"))
    case = {"image": str(path)}

    def transform(item: dict) -> dict:
        return convert_to_contiguous(preprocess(item), memory_format=torch.contiguous_format)  # as CacheDataset does

    transform(case)  # warms up
    times: dict[str, list[float]] = {}
    def seconds(name: str, step: Callable[[], object]) -> object:
        begun = time.perf_counter()
        result = step()
        times.setdefault(name, []).append(time.perf_counter() - begun)
        return result

    for _ in range(repeats):
        cache = CaseCache(folder / "one", "this benchmark", keep_free=0)
        seconds("input check", lambda: read_facts(case["image"], 2**30))
        seconds("all", lambda: cache.get(case, lambda: seconds("preprocessing", lambda: transform(case))))
        times.setdefault("added by the cache: two digests, write, read back", []).append(
            times["all"].pop() - times["preprocessing"][-1]
        )
        seconds("digest of the file", lambda: digest_case(case))
        seconds("instead of both: digest and read", lambda: cache.get(case, dict))
        shutil.rmtree(folder / "one")
    del times["all"]
    print({name: [round(value, 2) for value in values] for name, values in times.items()}, path.stat().st_size)
    path.unlink()
    return times


def ratio(numerators: list[float], denominators: list[float], digits: int = 2) -> str:
    ratios = [a / b for a, b in zip(numerators, denominators)]
    return f"{statistics.median(ratios):.{digits}f} ({min(ratios):.{digits}f} to {max(ratios):.{digits}f})"


def main(
    folder: str = "", repeats: int = 3, labeled: int = 5, unlabeled: int = 33, report: str = "", note: str = ""
) -> None:
    """Measures and prints a Markdown table.

    Args:
        folder: where the phantoms are, or are written (minutes); default: a temporary one.
        repeats: starts of each kind.
        labeled: cases.
        unlabeled: cases; two more are for validation.
        report: Markdown file to write the table to.
        note: what the reader of the table must know of the machine.
    """
    from scdl_components.data import write_phantoms  # not in the processes that are timed

    place = Path(folder or tempfile.mkdtemp()).absolute()
    begun = time.time()
    data = Path(write_phantoms(place / "phantom", labeled, unlabeled, 2, 0, spacing=(1.5, 1.5, 2.0)))
    written = time.time() - begun
    cache = place / "cache"
    times: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        shutil.rmtree(cache, ignore_errors=True)
        for way, state in WAYS.items():
            times[way].append(start(data, place, cache if state else None))
            print(way, {name: round(value, 1) for name, value in times[way][-1].items()}, flush=True)
    steps = one_ct(place, repeats)
    sizes = [size for path in cache.rglob("*.pt") if (size := path.stat().st_size) > 10**6]  # not facts
    shutil.rmtree(cache)
    if not folder:
        shutil.rmtree(place)
    wholes = {way: [sum(one.values()) for one in starts] for way, starts in times.items()}
    first, *others = WAYS
    rows = [f"| **from the command to the end of the first iteration** | {cells({w: wholes[w] for w in WAYS})} |"]
    rows += [f"| of it: {part} | {cells({w: [one[part] for one in times[w]] for w in WAYS})} |" for part in PARTS]
    rows += [f"| whole, ratio | 1 | {' | '.join(ratio(wholes[way], wholes[first]) for way in others)} |"]
    scale = steps["preprocessing"]
    table = "\n".join(f"| {name} | {cells({'': t}, 2)} | {ratio(t, scale, 3)} |" for name, t in steps.items())
    text = f"""# Start of a training

`python -m benchmarks.startup`, {labeled} labelled, {unlabeled} unlabelled and 2 validation phantoms of some 240 × 190 × 120 voxels
around 1.5 × 1.5 × 2 mm, resampled to exactly that; {machine()},
OMP_NUM_THREADS={os.environ.get("OMP_NUM_THREADS", "unset")}{note and "; "}{note}; {repeats} starts of each kind in turn, seconds, medians, in brackets the extremes.
A case takes {min(sizes) / 1e6:.0f} to {max(sizes) / 1e6:.0f} MB, {sum(sizes) / 1e6:.0f} MB of the folder in all.

| what | {' | '.join(WAYS)} |
| --- | --- | --- | --- |
{chr(10).join(rows)}

One image of 512 × 512 × 130 voxels (noise in a cylinder), 1 thread, {repeats} times in turn:

| step | seconds | ratio to the preprocessing |
| --- | --- | --- |
{table}
"""
    print(text)
    if written > 1:
        print(f"Before all that, the phantoms were written in {written:.0f} s.")
    if report:
        Path(report).write_text(text, encoding="utf-8")


def cells(values: dict[str, list[float]], digits: int = 1) -> str:
    shown = [[statistics.median(v), min(v), max(v)] for v in values.values()]
    return " | ".join(f"{m:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" for m, low, high in shown)


if __name__ == "__main__":
    fire.Fire(main)
