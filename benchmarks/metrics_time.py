# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of one 512×512×150 volume with 15 organs, against MedPy on whole-volume masks one organ at a time.

    python -m benchmarks.metrics_time

MedPy gets an environment of its own in build/medpy. Dice, HD95 and ASD of both are compared; ours computes ASSD and
NSD as well, of which MedPy has no NSD and is not asked for ASSD. Each side runs in a process of its own, on one
thread, in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPACING = (0.7, 0.7, 3.0)
CASE = (2, 3)  # a phantom that has every organ
SHAPE = (512, 512, 150)
ROOT = Path(__file__).parents[1]
COMMON = ("dice", "hd95", "asd")


def medpy_scores(pred: np.ndarray, label: np.ndarray, num_classes: int) -> list[list[float]]:
    """As one does it with MedPy: a whole-volume mask for each organ, a call for each metric."""
    from medpy.metric import binary

    scores = []
    for c in range(1, num_classes):
        masks = pred == c, label == c
        if not (masks[0].any() and masks[1].any()):  # MedPy raises
            scores.append([np.nan] * len(COMMON))
            continue
        distances = [f(*masks, voxelspacing=SPACING) for f in (binary.hd95, binary.asd)]
        scores.append([binary.dc(*masks), *distances])
    return [[float(value) for value in row] for row in scores]


def our_scores(pred: np.ndarray, label: np.ndarray, num_classes: int) -> list[list[float]]:
    from scdl_components.metrics import ClinicalProtocol

    scores = ClinicalProtocol()(pred, label, np.diag([*SPACING, 1.0]), num_classes)
    return [[getattr(score, name) for name in COMMON] for score in scores]


def side(name: str, file: str) -> None:
    """Scores of the volumes in a file, timed; printed as JSON."""
    volumes = np.load(file)
    score = {"ours": our_scores, "medpy": medpy_scores}[name]
    start = time.perf_counter()
    scores = score(volumes["pred"], volumes["label"], int(volumes["label"].max()) + 1)
    print(json.dumps({"seconds": time.perf_counter() - start, "scores": scores}))


def volumes() -> tuple[np.ndarray, np.ndarray]:
    """A phantom's 15 organs at 512×512×150, and a prediction that is off by some voxels."""
    from scdl_components.data.phantom import AMOS_ORGANS, phantom_case

    label = np.asarray(phantom_case(0, CASE, AMOS_ORGANS, SPACING)[1].dataobj).astype(np.uint8)
    # a case's grid varies around the nominal one
    label = np.pad(label, [(0, max(0, n - have)) for n, have in zip(SHAPE, label.shape)])
    label = label[tuple(slice((have - n) // 2, (have - n) // 2 + n) for n, have in zip(SHAPE, label.shape))]
    return np.roll(label, (2, -1, 1), axis=(0, 1, 2)), label


def main(repeats: int = 3, report: str = "benchmarks/metrics_time.md") -> None:
    """Measures and writes a Markdown table."""
    medpy = ROOT / "build" / "medpy"
    if not (medpy / "bin" / "medpy_ready").exists():
        subprocess.run([sys.executable, "-m", "venv", medpy], check=True)
        subprocess.run([medpy / "bin" / "python", "-m", "pip", "install", "--quiet", "medpy==0.5.2"], check=True)
        (medpy / "bin" / "medpy_ready").touch()
    results: dict[str, list[dict]] = {"ours": [], "medpy": []}
    with tempfile.TemporaryDirectory() as folder:
        pred, label = volumes()
        np.savez(f"{folder}/volumes.npz", pred=pred, label=label)
        for _ in range(repeats):
            for name, python in (("ours", sys.executable), ("medpy", medpy / "bin" / "python")):
                words = [python, __file__, "--side", name, f"{folder}/volumes.npz"]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
                output = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                results[name].append(json.loads(output.splitlines()[-1]))
                print(name, f"{results[name][-1]['seconds']:.2f} s", flush=True)
    ours, theirs = (np.array(results[name][0]["scores"]) for name in ("ours", "medpy"))
    seconds = {name: [run["seconds"] for run in runs] for name, runs in results.items()}
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["medpy"])]
    lines = [
        "# Metrics of one volume, against MedPy",
        "",
        f"`python -m benchmarks.metrics_time --repeats {repeats}`, {repeats} runs of each in turn, one thread; {'×'.join(map(str, SHAPE))}",
        f"voxels, {len(ours)} organs, {sum((label == c).any() for c in range(1, label.max() + 1))} of them in the volume.",
        "Ours includes ASSD and NSD; MedPy has no NSD and is not asked for ASSD.",
        "",
        "| side | seconds, median (extremes) |",
        "| --- | --- |",
        *(f"| {n} | {statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f}) |" for n, s in seconds.items()),
        "",
        f"Ours is {statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f}). Largest difference of",
        f"{', '.join(COMMON)}: {np.nanmax(np.abs(ours - theirs)):.1e}.",
    ]
    Path(report).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side(*sys.argv[2:4])
    else:
        import fire

        fire.Fire(main)
