# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A training iteration against its networks' own work, by part, and SCDL's share of it.

    python -m benchmarks.step_time                                        # the bundle's own size: minutes an iteration
    python -m benchmarks.step_time --roi_size "[32,32,32]" --num_filters 8
    python -m benchmarks.step_time --reuse_memory False                   # any key of the training's config
    python -m benchmarks.step_time --overlays "['priors']"

In turn, in one process: an iteration of the bundle's trainer (data, both students, losses, SCDL, optimizer, logging),
forward and backward of the bare students on the same tensors, and SCDL alone.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import fire
import numpy as np
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents
from monai.transforms import Compose

from benchmarks.measure import clock, figures, machine, seconds, show, training_workflow
from scdl_components.data.two_stream import prepare_two_stream_batch
from scdl_components.engines import DualStudentTrainer
from scdl_components.engines.cuda_graph import GraphedLoss
from scdl_components.memory import reused_memory

# part of an iteration -> the event that ends it
PARTS = {
    "data": Events.ITERATION_STARTED,
    "students and losses, forward": IterationEvents.LOSS_COMPLETED,
    "students and losses, backward": IterationEvents.BACKWARD_COMPLETED,
    "optimizer": IterationEvents.MODEL_COMPLETED,
    "schedule and logging": Events.ITERATION_COMPLETED,
}
WARM_UP = 3  # iterations that are not counted: the process's memory still grows


def record_parts(trainer: DualStudentTrainer) -> dict[str, list[float]]:
    """Seconds of whole iterations and of their parts; the lists grow while the trainer runs.

    Args:
        trainer: with all its handlers, so that logging is in the iteration. A GPU is waited for at the end of each part.
    """
    times: dict[str, list[float]] = {name: [] for name in ("iteration", *PARTS)}
    stamps: list[float] = []
    device = torch.device(trainer.state.device)

    def stamp() -> None:
        stamps.append(clock(device))

    def end() -> None:
        for name, start, stop in zip(PARTS, stamps, stamps[1:]):
            times[name].append(stop - start)
        times["iteration"].append(stamps[-1] - stamps[0])

    trainer.add_event_handler(Events.GET_BATCH_STARTED, stamps.clear)
    for event in (Events.GET_BATCH_STARTED, *PARTS.values()):
        trainer.add_event_handler(event, stamp)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
    return times


def plain_volumes(run: ConfigWorkflow) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """A training's phantoms as the plain loop has them, labeled ones first."""
    folder = run.parser.get_parsed_content("dataset_dir")
    preprocess = Compose(run.parser.get_parsed_content("train#deterministic_transforms"))
    lists = json.loads(Path(folder, "case_list.json").read_text())
    volumes = []
    for item in (*lists["labeled"], *lists["unlabeled"]):
        files = {"image": item} if isinstance(item, str) else item
        found = preprocess({key: str(Path(folder, path)) for key, path in files.items() if key in ("image", "label")})
        volumes.append(tuple(np.asarray(found[key][0].cpu()) if key in found else None for key in ("image", "label")))
    return volumes


def sides(run: ConfigWorkflow) -> dict[str, Callable[[], object]]:
    """What an iteration is compared with, by name: forward and backward of the bare students on its batch, and of SCDL."""
    trainer = run.trainer
    device = torch.device(trainer.state.device)
    # as the iteration
    memory = reused_memory if run.parser.get_parsed_content("reuse_memory") else nullcontext
    precision = partial(torch.autocast, device.type, enabled=trainer.amp, **trainer.amp_kwargs)
    images, label = prepare_two_stream_batch(trainer.state.batch, device, **trainer.to_kwargs)

    def both_ways(loss: Callable[..., tuple[torch.Tensor, None]], leaves: Iterable[torch.Tensor]) -> None:
        trainer.state.output = None  # as at the start of an iteration: nothing of the last one is held
        trainer.optimizer.zero_grad(set_to_none=True)
        with memory():
            torch.autograd.grad(loss(images, label)[0], leaves, allow_unused=True)

    def bare_loss(images: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, None]:
        with precision():
            return sum(student(images).mean() for student in trainer.network.students), None

    def scdl_loss(images: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, None]:
        with precision():
            return sum(weight * value for value, weight in scdl(features, label, 0.5).values()), None

    found = {"bare": lambda: both_ways(bare_loss, list(trainer.network.parameters()))}
    if (scdl := trainer.loss_function.scdl) is not None:
        with torch.no_grad(), precision():
            outputs = [student(images) for student in trainer.network_with_loss.students]
        features = [torch.rand_like(output.features[scdl.feature_module]).requires_grad_() for output in outputs]
        parameters = (parameter for bank in scdl.banks for parameter in bank.parameters() if parameter.requires_grad)
        leaves = [*features, *parameters]
        found["scdl"] = lambda: both_ways(scdl_loss, leaves)
        if trainer.graphed_loss is not None:  # as it is in the iteration
            graphed = GraphedLoss(scdl_loss, leaves, [])
            graphed(images, label)  # records
            found["scdl"] = lambda: graphed(images, label)
    return found


def training(pairs: int, **scale: object) -> dict[str, list[float]]:
    """Seconds of whole iterations, of their parts, and of what they are compared with, one of each in turn."""
    with tempfile.TemporaryDirectory() as folder:
        run = training_workflow(folder, max_iterations=pairs + WARM_UP, **scale)
        trainer = run.trainer
        times = record_parts(trainer)

        def others() -> None:
            for name, side in sides(run).items():
                times.setdefault(name, []).append(seconds(side, torch.device(trainer.state.device)))
            trainer.optimizer.zero_grad(set_to_none=True)
            print({name: round(values[-1], 3) for name, values in times.items()}, flush=True)

        # behind what records the iteration
        trainer.add_event_handler(Events.ITERATION_COMPLETED, others)
        trainer.run()
    return {name: values[WARM_UP:] for name, values in times.items()}


def main(
    pairs: int = 5,
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    threads: int = 2,
    output: str = "",
    **overrides: object,
) -> None:
    """Measures and prints a table.

    Args:
        pairs: iterations measured, each beside the others.
        roi_size: patch.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        threads: of PyTorch.
        output: CSV to write the table to.
        overrides: keys of the training's config, e.g. --train#trainer#compile True.
    """
    torch.set_num_threads(threads)
    scale = {"roi_size": list(roi_size), "num_filters": num_filters, "spacing": spacing, **overrides}
    print(f"batch 2 + 2, {scale}, {threads} threads, {machine()}; medians and extremes of {pairs}")
    times = training(pairs, **scale)
    whole = times["iteration"]
    rows = [figures("two students, forward and backward", times["bare"])]
    rows += [figures("a training iteration, over the students", whole, times["bare"])]
    rows += [figures(f"of it: {name}", times[name], whole) for name in PARTS]
    if "scdl" in times:
        rows += [figures("SCDL alone, forward and backward, over the iteration", times["scdl"], whole)]
    show(rows, output)


if __name__ == "__main__":
    fire.Fire(main)
