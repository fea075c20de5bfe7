# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What training and sliding windows cost beyond the networks' own work, as ratios of one run.

    python -m benchmarks.step_time                                        # the bundle's own size: minutes an iteration
    python -m benchmarks.step_time --roi_size "[32,32,32]" --num_filters 8

Training: an iteration of the bundle's trainer (data, both students, losses, SCDL, optimizer, logging) over forward and
backward of the two students on the same tensors, in turn. Inference: the sliding window over its number of windows times
one window's forward.
"""

from __future__ import annotations

import shlex
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import fire
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.data.utils import dense_patch_slices
from monai.engines.utils import IterationEvents
from monai.inferers.utils import _get_scan_interval
from monai.utils import ensure_tuple_rep

from benchmarks.machine import machine
from scdl_components.data import write_phantoms
from scdl_components.data.phantom import SYNAPSE_ORGANS
from scdl_components.data.two_stream import prepare_two_stream_batch
from scdl_components.engines import DualStudentTrainer
from scdl_components.losses import DualStudentLoss, StudentOutputs
from scdl_components.memory import reused_memory

BUNDLE = Path(__file__).parents[1] / "bundles" / "scdl_synapse"


# part of an iteration -> the event that ends it
PARTS = {
    "data": Events.ITERATION_STARTED,
    "students, forward": IterationEvents.FORWARD_COMPLETED,
    "losses, forward": IterationEvents.LOSS_COMPLETED,
    "losses and students, backward": IterationEvents.BACKWARD_COMPLETED,
    "optimizer": IterationEvents.MODEL_COMPLETED,
    "schedule and logging": Events.ITERATION_COMPLETED,
}


def clock(device: torch.device) -> float:
    """Seconds, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(function: Callable[[], object], device: torch.device = torch.device("cpu")) -> float:
    start = clock(device)
    function()
    return clock(device) - start


def moment(device: torch.device) -> float | torch.cuda.Event:
    """A moment in the device's own order of work, which goes on: seconds of a CPU, an event of a GPU."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def words(overrides: Mapping[str, object]) -> str:
    """Keys of the config as a command line has them, each after a space."""
    return "".join(f" --{key} {shlex.quote(str(value))}" for key, value in overrides.items())


def between(start: float | torch.cuda.Event, stop: float | torch.cuda.Event) -> float:
    """Seconds from one moment to another; waits until the second has come."""
    if isinstance(start, float):
        return stop - start
    stop.synchronize()
    return start.elapsed_time(stop) / 1000


def phantoms(folder: str | Path, spacing: float, organs: Sequence[str] = SYNAPSE_ORGANS) -> str:
    """Folder of the phantoms, written if they are not there: 2 labelled cases, 4 unlabelled ones."""
    return write_phantoms(f"{folder}/phantom", 2, 4, 0, 0, organs=organs, spacing=(spacing,) * 3)


def workflow(
    folder: str | Path,
    spacing: float,
    organs: Sequence[str] = SYNAPSE_ORGANS,
    overlays: Sequence[str] = (),
    **overrides: object,
) -> ConfigWorkflow:
    """The bundle's training on phantoms, ready to run.

    Args:
        folder: where the phantoms are, or are written, and what the training writes.
        spacing: of the phantoms, mm.
        organs: that the phantoms have labels of.
        overlays: names of configs of the bundle that are laid over train.yaml.
        overrides: keys of the config.
    """
    keys = {
        "dataset_dir": phantoms(folder, spacing, organs),
        "case_list": "case_list.json",
        "pixdim": [spacing] * 3,
        "ckpt_dir": str(folder),
        "output_dir": str(folder),
        "num_workers": 0,
        **overrides,
    }
    configs = [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("train", *overlays)]
    result = ConfigWorkflow(configs, logging_file=False, **keys)
    result.initialize()
    return result


def record_parts(trainer: DualStudentTrainer, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of whole iterations ("iteration") and of their parts; the lists grow while the trainer runs.

    Args:
        trainer: with all its handlers, so that logging is in the iteration. A GPU is waited for at its end alone.
        warm_up: iterations at the start that are not recorded.
    """
    times: dict[str, list[float]] = {name: [] for name in ("iteration", *PARTS)}
    stamps: list[float | torch.cuda.Event] = []
    device = torch.device(trainer.state.device)

    def stamp() -> None:
        stamps.append(moment(device))

    def end() -> None:
        if trainer.state.iteration > warm_up:
            for name, start, stop in zip(PARTS, stamps, stamps[1:]):
                times[name].append(between(start, stop))
            times["iteration"].append(between(stamps[0], stamps[-1]))

    trainer.add_event_handler(Events.GET_BATCH_STARTED, stamps.clear)
    for event in (Events.GET_BATCH_STARTED, *PARTS.values()):
        trainer.add_event_handler(event, stamp)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
    return times


def training(pairs: int, warm_up: int = 3, **scale: object) -> dict[str, list[float]]:
    """Seconds of whole iterations, of their parts, and of the bare networks, one of each in turn.

    The first ``warm_up`` are not counted: the process' memory still grows in them.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = workflow(folder, max_iterations=pairs + warm_up, val_interval=10**6, **scale)
        trainer = run.trainer
        device = torch.device(trainer.state.device)
        precision = partial(torch.autocast, device.type, enabled=trainer.amp, **trainer.amp_kwargs)
        times = {"bare": [], **record_parts(trainer, warm_up), "scdl": []}
        scdl_alone = DualStudentLoss([trainer.loss_function.terms[-1]])
        feature_shape = (4, scale["num_filters"], *scale["roi_size"])

        def bare() -> None:
            images, _ = prepare_two_stream_batch(trainer.state.batch, device, **trainer.to_kwargs)
            trainer.optimizer.zero_grad(set_to_none=True)
            with reused_memory():  # as the iteration
                with precision():
                    total = sum(student(images).mean() for student in trainer.network.students)
                total.backward()

        def scdl() -> None:
            _, label = prepare_two_stream_batch(trainer.state.batch, device)
            features = [torch.rand(feature_shape, device=device, requires_grad=True) for _ in trainer.network.students]
            outputs = StudentOutputs([], features, label, trainer.progress)

            def both_ways() -> None:
                with precision():
                    total = scdl_alone(outputs)[0]
                total.backward()

            with reused_memory():
                times["scdl"].append(seconds(both_ways, device))

        def end() -> None:
            trainer.state.output = None  # as at the start of an iteration: nothing of the last one is held
            times["bare"].append(seconds(bare, device))
            trainer.optimizer.zero_grad(set_to_none=True)
            scdl()
            if trainer.state.iteration <= warm_up:
                times["bare"].clear(), times["scdl"].clear()
            else:
                print({name: round(values[-1], 3) for name, values in times.items()}, flush=True)

        # behind what records the iteration
        trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
        trainer.run()
    return times


def inference(repeats: int, roi_size: list[int], num_filters: int) -> tuple[list[float], list[float], int]:
    """Seconds of sliding windows and of as many bare windows, in turn; and how many windows there are."""
    run = ConfigWorkflow(
        str(BUNDLE / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        roi_size=roi_size,
        num_filters=num_filters,
        sw_batch_size=1,
        progress=False,
    )
    run.initialize()
    network, inferer = run.parser.get_parsed_content("network").eval(), run.inferer
    device = torch.device(run.parser.get_parsed_content("device"))
    size = tuple(2 * n for n in roi_size)
    windows = len(dense_patch_slices(size, roi_size, _get_scan_interval(size, roi_size, 3, ensure_tuple_rep(inferer.overlap, 3)), False))
    volume, window = torch.rand(1, 1, *size, device=device), torch.rand(1, 1, *roi_size, device=device)
    sliding, bare = [], []
    with torch.no_grad():
        network(window)
        for _ in range(repeats):
            sliding.append(seconds(lambda: inferer(volume, network), device))
            with reused_memory():
                bare.append(windows * statistics.median(seconds(lambda: network(window), device) for _ in range(5)))
    return sliding, bare, windows


def ratio(numerators: list[float], denominators: list[float]) -> str:
    ratios = [a / b for a, b in zip(numerators, denominators)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main(
    pairs: int = 5,
    roi_size: list[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    threads: int = 2,
    report: str = "",
    **overrides: object,
) -> None:
    """Measures both and prints a Markdown table.

    Args:
        pairs: iterations measured, each beside a bare one.
        roi_size: patch.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        threads: of PyTorch.
        report: Markdown file to write the table to.
        overrides: keys of the training's config, e.g. --compile True.
    """
    torch.set_num_threads(threads)
    times = training(pairs, roi_size=list(roi_size), num_filters=num_filters, spacing=spacing, **overrides)
    sliding, bare, windows = inference(max(3, pairs // 2), list(roi_size), num_filters)
    median = {name: statistics.median(values) for name, values in times.items()}
    parts = "\n".join(f"| of it: {name} | {median[name]:.3f} | {ratio(times[name], times['bare'])} |" for name in PARTS)
    text = f"""# Cost of an iteration and of sliding windows

`python -m benchmarks.step_time --pairs {pairs} --roi_size "{list(roi_size)}" --num_filters {num_filters}{words(overrides)}`, {threads} threads,
{machine()}; batch 2 + 2; medians,
in brackets the extremes.

| what | seconds | ratio |
| --- | --- | --- |
| two students, forward and backward | {median["bare"]:.3f} | 1 |
| a training iteration, whole | {median["iteration"]:.3f} | {ratio(times["iteration"], times["bare"])} |
{parts}
| SCDL alone, forward and backward, both students | {median["scdl"]:.3f} | {ratio(times["scdl"], times["iteration"])} of the iteration |
| {windows} windows, forward | {statistics.median(bare):.3f} | 1 |
| sliding window | {statistics.median(sliding):.3f} | {ratio(sliding, bare)} |
"""
    print(text)
    if report:
        Path(report).write_text(text)


if __name__ == "__main__":
    fire.Fire(main)
