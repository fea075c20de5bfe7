# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of training iterations on a GPU, which is waited for between blocks of iterations alone.

python -m benchmarks.gpu.speed steps --output steps.csv
python -m benchmarks.gpu.speed memory --output memory.csv
"""

import gc
import resource
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import fire
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from torch.autograd import DeviceType

from benchmarks.gpu.correctness import TOY
from benchmarks.measure import clock, figures, machine, seconds, training_workflow, write_csv
from benchmarks.plain_loop import PlainLoop, PlainSCDL
from benchmarks.step_time import plain_volumes, sides
from scdl_components.networks import DualStudent, VNet

SIZE = {"spacing": 2.0, "roi_size": [96, 96, 96], "num_filters": 16, "num_workers": 2}
CUDNN = [
    f"$setattr(torch.backends.cudnn, {key}, {on})" for key, on in (("'deterministic'", False), ("'benchmark'", True))
]
TRIES = {"initialize": ["$monai.utils.set_determinism(seed=@seed)", *CUDNN]}
# keys of train.yaml, by worth
VARIANTS: dict[str, dict[str, object]] = {
    "as it is": {},
    "without SCDL": {"scdl": False},
    "cuDNN tries its kernels": TRIES,
    "without CUDA graph": {"train#trainer#cuda_graph": False},
    "compiled": {"train#trainer#compile": True},
    "channels first": {"train#memory_format": "$torch.contiguous_format"},
    "float32": {"amp": False},
}
# overlays behind train.yaml
HOSTS = {"cps": [], "dhc": ["dhc"], "magicnet": ["magicnet"]}


def workflow(folder: str, overlays: list[str] = (), **keys: object) -> ConfigWorkflow:
    """A training in a folder whose phantoms are the same for all; the last one's memory is given back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    Path(folder).mkdir(parents=True, exist_ok=True)
    own = tempfile.mkdtemp(dir=folder)
    return training_workflow(folder, overlays=overlays, **{"ckpt_dir": own, "output_dir": own, **keys})


def blocks(
    run: ConfigWorkflow, length: int, others: Callable[[], Mapping[str, Callable[[], object]]] = dict
) -> dict[str, list[float]]:
    """Seconds of an iteration, and of one of each of the others, in blocks of ``length`` in turn; the first is left out."""
    device, times, start = torch.device(run.trainer.state.device), {"iteration": []}, []

    def measure() -> None:
        times["iteration"].append((clock(device) - start.pop()) / length)
        for name, other in others().items():
            times.setdefault(name, []).append(seconds(lambda: [other() for _ in range(length)], device) / length)
        run.trainer.optimizer.zero_grad(set_to_none=True)
        start.append(clock(device))

    run.trainer.add_event_handler(Events.STARTED, lambda: start.append(clock(device)))
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=length), measure)
    run.trainer.run()
    return {name: values[1:] for name, values in times.items()}


def plain_loop(run: ConfigWorkflow) -> PlainLoop:
    """The published style with a training's networks, tokens and phantoms."""
    keys = ("num_classes", "num_filters", "embed_dim", "voxels_per_token", "roi_size")
    num_classes, filters, embed_dim, edge, roi_size = (run.parser.get_parsed_content(key) for key in keys)
    scdl = [PlainSCDL(filters, num_classes, embed_dim, edge) for _ in range(2)]
    network = DualStudent(VNet(1, num_classes, filters))
    return PlainLoop(network, scdl, plain_volumes(run), roi_size, torch.device(run.trainer.state.device))


def kernels(run: ConfigWorkflow) -> list[dict[str, object]]:
    """The ten largest kernels of a training's second and third iteration; operators on a CPU."""
    profiler = torch.profiler.profile()
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), profiler.start)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), profiler.stop)
    run.trainer.run()
    on_gpu = torch.cuda.is_available()
    wanted, key = (DeviceType.CUDA, "self_device_time_total") if on_gpu else (DeviceType.CPU, "self_cpu_time_total")
    found = [(getattr(event, key), event) for event in profiler.key_averages() if event.device_type == wanted]
    total = sum(time for time, _ in found)
    largest = sorted(found, key=lambda item: -item[0])[:10]
    rows = [(event.key[:160], event.count, f"{time / 1000:.2f}", f"{time / total:.3f}") for time, event in largest]
    return [dict(zip(("kernel", "calls", "ms", "share"), row)) for row in rows]


def peak() -> int:
    """Largest memory so far in MiB: of the GPU since :func:`workflow`, on a CPU the process's."""
    on_gpu = torch.cuda.is_available()
    return (
        torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ) >> 20


class Table:
    """Rows that are written as soon as they are there."""

    def __init__(self, output: str) -> None:
        self.output, self.rows = output, []
        print(machine(), flush=True)

    def add(self, *rows: Mapping[str, object]) -> None:
        self.rows += rows
        print(*rows, sep="\n", flush=True)
        write_csv(self.rows, self.output)


def variant(folder: str, name: str, with_plain: bool, length: int, number: int, size: dict) -> list[dict[str, str]]:
    """Rows of a variant: the iteration over the bare students, SCDL and the plain loop over the iteration."""
    run = workflow(folder, max_iterations=(number + 1) * length, **VARIANTS[name], **size)
    plain = {"plain": plain_loop(run).step} if with_plain else {}
    times = blocks(run, length, lambda: sides(run) | plain)
    found = [figures("iteration, over the bare students", times["iteration"], times["bare"])]
    others = [other for other in ("scdl", "plain") if other in times]
    found += [figures(f"{other}, over the iteration", times[other], times["iteration"]) for other in others]
    return [{"variant": name, **row} for row in found]


def steps(output: str = "steps.csv", folder: str = "", toy: bool = False) -> None:
    """Measures iterations of all variants; the plain loop beside the first of them.

    Args:
        output: CSV; the kernels' is beside it.
        folder: for phantoms; empty: a temporary one.
        toy: small, and one variant.
    """
    table, place = Table(output), folder or tempfile.mkdtemp()
    length, number, size = (1, 1, TOY) if toy else (10, 4, SIZE)
    for index, name in enumerate(list(VARIANTS)[: 1 if toy else None]):
        table.add(*variant(place, name, index == 0, length, number, size))
        if index == 0:
            found = kernels(workflow(place, max_iterations=4, **size))
            write_csv(found, Path(output).with_name("kernels.csv"))


def memory(output: str = "memory.csv", folder: str = "", toy: bool = False) -> None:
    """Measures peak memory and time of each host, without SCDL, with it, and with priors; arguments as of ``steps``."""
    table, place = Table(output), folder or tempfile.mkdtemp()
    length, size = (1, TOY) if toy else (5, SIZE)
    for host in list(HOSTS)[: 1 if toy else None]:
        for parts, overlays, keys in (
            ("", [], {"scdl": False}),
            (" + SCDL", [], {}),
            (" + SCDL + priors", ["priors"], {}),
        ):
            keys = {"overlays": [*overlays, *HOSTS[host]], "max_iterations": 3 * length, **keys, **size}
            times = blocks(workflow(place, **keys), length)["iteration"]
            table.add({**figures(host + parts, times), "peak memory, MiB": peak()})


if __name__ == "__main__":
    fire.Fire({"steps": steps, "memory": memory})
