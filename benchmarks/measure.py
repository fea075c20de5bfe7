# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: clocks, the bundle's training on phantoms, tables."""

import csv
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow

from scdl_components.report.page import markdown_table

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "bundles" / "scdl_synapse" / "configs"


def machine() -> str:
    """GPU or processor, cores, PyTorch, and the environment that decides how fast memory is handed out."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    huge_pages = os.environ.get("THP_MEM_ALLOC_ENABLE", 0)
    return f"{name}, {os.cpu_count()} cores, PyTorch {torch.__version__}, THP_MEM_ALLOC_ENABLE={huge_pages}"


def processor() -> str:
    """The processor's name and family, as far as the system tells: "AMD EPYC (family 25, model 17)", or "arm64"."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    facts = dict(re.findall(r"^([^\t:]+)\s*: *(.+)$", text, flags=re.MULTILINE))
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"


def clock(device: torch.device) -> float:
    """Seconds, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Time that a call takes."""
    start = clock(device)
    function()
    return clock(device) - start


def measured(words: Sequence[str], log: Path, **environment: str) -> dict[str, float]:
    """Runs a command with its output in a file; its wall time and peak memory.

    Raises:
        RuntimeError: when it fails; the message names the log.
    """
    start = time.time()
    with log.open("w") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"a run failed, see {log}")
    return {"seconds": time.time() - start, "peak_memory_mb": usage.ru_maxrss / 1024}


def monai_run(configs: Sequence[str | Path], *words: str, **overrides: object) -> list[str]:
    """``python -m monai.bundle run`` of some of the bundle's configs, as a list of words.

    Args:
        configs: their names, or paths of others.
        words: before the configs, e.g. "training".
        overrides: keys of the configs.
    """
    files = str([str(each if isinstance(each, Path) else CONFIGS / f"{each}.yaml") for each in configs])
    added = [str(word) for key, value in overrides.items() for word in (f"--{key}", value)]
    return [sys.executable, "-m", "monai.bundle", "run", *words, "--config_file", files, *added]


def training_workflow(
    folder: str | Path, spacing: float, overlays: Sequence[str] = (), **overrides: object
) -> ConfigWorkflow:
    """The bundle's training with SCDL on 2 labeled and 4 unlabeled phantoms, ready to run.

    Args:
        folder: for the phantoms and what the training writes.
        spacing: of the phantoms, mm.
        overlays: names of configs behind train.yaml.
        overrides: keys of the config.
    """
    from scdl_components.phantom import write_phantoms

    keys = {
        "bundle_root": str(CONFIGS.parent),  # a config finds it only while MONAI's workflow asks
        "dataset_dir": write_phantoms(f"{folder}/phantom", 2, 4, 0, 0, spacing=(spacing,) * 3),
        "case_list": "case_list.json",
        "pixdim": [spacing] * 3,
        "ckpt_dir": str(folder),
        "output_dir": str(folder),
        "num_workers": 0,
        "scdl": True,
        "augmentation": [],  # the loader's part is no iteration's; a plain loop has none
        "val_interval": 10**6,
        **overrides,
    }
    files = [str(CONFIGS / f"{name}.yaml") for name in ("train", *overlays)]
    result = ConfigWorkflow(files, logging_file=False, **keys)
    result.initialize()
    return result


def figures(what: str, values: Sequence[float], base: Sequence[float] | None = None) -> dict[str, str]:
    """A row of a table: median and extremes of values in seconds, and of their ratios to others timed in turn."""
    row = dict(zip(("what", "seconds", "lowest", "highest"), (what, *(f"{value:.3f}" for value in extremes(values)))))
    ratios = extremes([a / b for a, b in zip(values, base)]) if base else ()
    return {**row, **dict(zip(("ratio", "lowest ratio", "highest ratio"), (f"{value:.3f}" for value in ratios)))}


def extremes(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest."""
    return statistics.median(values), min(values), max(values)


def show(rows: Sequence[Mapping[str, str]], output: str | Path = "") -> None:
    """Prints rows as a Markdown table and, where ``output`` names a file, writes them to it as CSV."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    print(markdown_table(header, [[str(row.get(key, "")) for key in header] for row in rows]))
    if output:
        write_csv(rows, output)


def write_csv(rows: Sequence[Mapping[str, object]], path: str | Path) -> None:
    """Writes rows to a CSV; columns are all keys that any row has."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
