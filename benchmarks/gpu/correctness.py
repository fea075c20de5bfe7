# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A GPU's arithmetic against the CPU's: first iterations of every host, whether they wait for it, a resume, CUDA graphs.

python -m benchmarks.gpu.correctness --output correctness.csv
"""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import fire
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents
from torch import Tensor

from benchmarks.measure import training_workflow, write_csv

# overlays behind train.yaml, and keys
CASES: dict[str, tuple[list[str], dict[str, object]]] = {
    "cps": ([], {}),
    "cps, published SCDL": (["published"], {"voxels_per_token": 4}),
    "cps, Dice + CE": (["dice_ce"], {}),
    "cps, priors": (["priors"], {}),
    "dhc": (["dhc"], {}),
    "dhc, GA losses, priors": (["priors", "dhc", "ga"], {}),
    # pseudo-labels are blended from the first iteration on
    "magicnet": (["magicnet"], {"host#blend_after": -1, "host#history": 1}),
    "magicnet, priors": (["priors", "magicnet"], {"host#blend_after": -1, "host#history": 1}),
}
NO_GRAPH = {"train#trainer#cuda_graph": False}
SIZE = {"spacing": 3.0, "roi_size": [64, 64, 64], "num_filters": 8}
RESUMED = ["cps", "dhc, GA losses, priors", "magicnet, priors"]
TOY = {"spacing": 8.0, "roi_size": [32, 32, 32], "num_filters": 2}
# largest error of a loss, and of the step of all parameters, relative to their size; the gradient of an untrained network
# is so near to 0 that bfloat16 gives the step's size and little more
BOUNDS = {"float32": (1e-3, 1e-2), "bfloat16": (5e-2, 1.5), "resumed": (1e-3, 1e-2)}


@contextmanager
def drawn_on_the_cpu() -> Iterator[None]:
    """Random numbers are the CPU's on every device, so that both sides have the same."""

    def in_place(draw: Callable) -> Callable:
        return lambda self, *args, **keys: self.copy_(draw(torch.empty_like(self, device="cpu"), *args, **keys))

    def new(draw: Callable) -> Callable:
        return lambda *args, device=None, **keys: draw(*args, **keys).to(device)

    with ExitStack() as stack:
        for name in ("normal_", "random_"):
            stack.enter_context(patch.object(torch.Tensor, name, in_place(getattr(torch.Tensor, name))))
        stack.enter_context(patch.object(torch, "rand", new(torch.rand)))
        randn_like = in_place(torch.Tensor.normal_)  # patched
        stack.enter_context(patch.object(torch, "randn_like", lambda x: randn_like(torch.empty_like(x))))
        yield


def workflow(folder: str, device: str, overlays: Sequence[str] = (), **keys: object) -> ConfigWorkflow:
    """A training of four iterations, with a folder of its own for what it writes."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    own = tempfile.mkdtemp(dir=folder)
    keys = {"ckpt_dir": own, "output_dir": own, "max_iterations": 4, "device": f"$torch.device('{device}')", **keys}
    return training_workflow(folder, overlays=overlays, **keys)


def parameters(engine: Engine) -> Tensor:
    """All that is trained, one vector on the CPU."""
    return torch.cat([p.detach().double().flatten().cpu() for g in engine.optimizer.param_groups for p in g["params"]])


def record_waits(engine: Engine, found: set[str]) -> None:
    """Notes where iterations from the second on make the CPU wait for the GPU."""
    stack = ExitStack()

    def start(engine: Engine) -> None:
        if engine.state.iteration > 1:
            caught = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            stack.callback(lambda: found.update(f"{Path(w.filename).name}:{w.lineno}" for w in caught if waits(w)))
            torch.cuda.set_sync_debug_mode("warn")
            stack.callback(torch.cuda.set_sync_debug_mode, "default")

    def waits(warning: warnings.WarningMessage) -> bool:
        return re.search("synchronizing", str(warning.message)) is not None and "prototype" not in str(warning.message)

    engine.add_event_handler(Events.ITERATION_STARTED, start)
    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, stack.close)


def first_iteration(run: ConfigWorkflow, waits: set[str] | None = None) -> tuple[dict[str, float], Tensor]:
    """Losses by name and the step of all parameters in the first iteration; later ones draw as they do.

    Args:
        run: of a training.
        waits: gets the places where later iterations wait for the device; None: there are none.

    Raises:
        FloatingPointError: there was no step.
    """
    engine, found, draws = run.trainer, [], ExitStack()
    before = parameters(engine)
    if waits is not None and torch.cuda.is_available():
        record_waits(engine, waits)

    def keep() -> None:
        draws.close()
        scalars, finite = (engine.state.output[0][key] for key in ("scalars", "finite"))
        if not finite:
            raise FloatingPointError("a loss or a gradient is not finite")
        found.append({name: float(scalars[name]) for name in scalars if f"weight/{name}" in scalars})
        found.append(parameters(engine) - before)
        if waits is None:
            engine.terminate()

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), keep)
    with draws:
        draws.enter_context(drawn_on_the_cpu())
        engine.run()
    return tuple(found)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def precisions(device: str) -> list[str]:
    """Those to compare in: bfloat16 of small convolutions is not finite on some CPUs."""
    return ["float32", "bfloat16"] if device != "cpu" else ["float32"]


def row(
    what: str, precision: str, errors: dict[str, float], step: float, waits: Sequence[str], bound: str = ""
) -> dict[str, str]:
    """A row of the table, with whether it is within one of ``BOUNDS``, by default that of the precision."""
    name, largest = max(errors.items(), key=lambda item: item[1])
    of_loss, of_step = BOUNDS[bound or precision]
    ok = largest <= of_loss and step <= of_step and not waits
    found = {"what": what, "precision": precision, "error of a loss": f"{largest:.1e}", "which": name}
    return {**found, "error of the step": f"{step:.1e}", "waits at": " ".join(sorted(waits)), "ok": str(ok)}


def compare(folder: str, device: str, name: str, size: dict) -> Iterator[dict[str, str]]:
    """A host's first iteration on the device against the CPU's, in float32 and in bfloat16."""
    overlays, keys = CASES[name][0], CASES[name][1] | NO_GRAPH  # draws are copied from the CPU
    expected, its_step = first_iteration(workflow(folder, "cpu", overlays, **keys, **size))
    for precision in precisions(device):
        waits: set[str] = set()
        amp = {"amp": precision == "bfloat16"}
        losses, step = first_iteration(workflow(folder, device, overlays, **amp, **keys, **size), waits)
        errors = {key: abs(losses[key] - value) / max(abs(value), 1e-3) for key, value in expected.items()}
        yield row(name, precision, errors, error(step, its_step), sorted(waits))


def resume(folder: str, device: str, name: str, size: dict) -> Iterator[dict[str, str]]:
    """Four iterations against two and two of them; the same twice, and without the CUDA graph that repeats the first."""
    overlays, keys = CASES[name]

    def trained(waits: set[str], **more: object) -> tuple[float, Tensor, str]:
        run = workflow(folder, device, overlays, val_interval=2, **keys, **size, **more)
        start = parameters(run.trainer)
        if torch.cuda.is_available():
            record_waits(run.trainer, waits)
        run.trainer.run()
        loss = float(run.trainer.state.output[0]["loss"])
        return loss, parameters(run.trainer) - start, run.parser.get_parsed_content("ckpt_dir")

    for precision in precisions(device):
        amp = {"amp": precision == "bfloat16"}
        loss, step, place = trained(set(), **amp)
        for what, bound, more in (
            ("again", "resumed", {}),
            ("from a checkpoint", "resumed", {"resume": f"{place}/checkpoint_2.pt"}),
            ("without CUDA graph", precision, NO_GRAPH),
        ):
            waits: set[str] = set()
            its_loss, its_step, _ = trained(waits, **amp, **more)
            errors = {"loss": abs(its_loss - loss) / abs(loss)}
            yield row(f"{name}, {what}", precision, errors, error(its_step, step), sorted(waits), bound)


def main(output: str = "correctness.csv", folder: str = "", toy: bool = False) -> None:
    """Compares and writes a table, row by row.

    Args:
        output: CSV.
        folder: for phantoms; empty: a temporary one.
        toy: small, and fewer hosts.
    """
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.allow_tf32 = False
    place = folder or tempfile.mkdtemp()
    size, names = (TOY, ["dhc, GA losses, priors"]) if toy else (SIZE, list(CASES))
    rows: list[dict[str, str]] = []
    for test, cases in ((compare, names), (resume, names[-1:] if toy else RESUMED)):
        for name in cases:
            try:
                for found in test(f"{place}/{size['spacing']}", device, name, size):
                    rows.append(found)
                    print(found, flush=True)
            except Exception as failure:  # of one host; the others are still worth a look
                rows.append({"what": name, "which": f"{type(failure).__name__}: {failure}"[:300], "ok": "False"})
                print(rows[-1], flush=True)
            write_csv(rows, output)


if __name__ == "__main__":
    fire.Fire(main)
