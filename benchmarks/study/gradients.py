# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""How hard does each term of the objective pull at the features? Gradients in finished runs, term by term.

    python -m benchmarks.study.gradients --runs "['study/2_labeled/scdl/seed_0']"

A checkpoint of the run is loaded into the training it came from; shown is the norm of each weighted term's gradient at
the first student's last decoder features, which all terms share.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import fire
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigWorkflow

from benchmarks.study.run import CONFIGS
from scdl_components.data.two_stream import prepare_two_stream_batch
from scdl_components.engines.dual_student_trainer import WithFeatures
from scdl_components.losses import StudentOutputs


def gradient_norms(run: str, iteration: int, batches: int, overrides: Mapping[str, object]) -> dict[str, float]:
    """Name -> mean norm over batches of the gradient of the weighted term, at that iteration of the run."""
    done = json.loads(Path(run, "done.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        keys = {key: DefaultParseValue(text) for key, text in done["overrides"].items()}
        keys |= {"ckpt_dir": folder, "output_dir": folder, "check_memory": False, **overrides}
        workflow = ConfigWorkflow(
            [str(CONFIGS / "train.yaml"), str(CONFIGS / "phantom.yaml")],
            workflow_type="train",
            logging_file=False,
            bundle_root=str(CONFIGS.parent),
            **keys,
        )
        workflow.initialize()
        trainer = workflow.trainer
        saved = torch.load(Path(run, "models", f"checkpoint_{iteration}.pt"), weights_only=True)
        trainer.network.load_state_dict(saved["model"])
        trainer.loss_function.load_state_dict(saved["loss"])
        module = workflow.parser.get_parsed_content("feature_module")
        students = [WithFeatures(student.train(), module) for student in trainer.network.students]
        norms: dict[str, list[float]] = defaultdict(list)
        for batch in islice(trainer.data_loader, batches):
            images, label = prepare_two_stream_batch(batch, torch.device("cpu"))
            logits, features = zip(*(student(images) for student in students))
            features = [last for (last,) in features]
            progress = iteration / keys["max_iterations"]
            _, terms = trainer.loss_function(StudentOutputs(logits, features, label, progress))
            for name, (value, weight) in terms.items():
                gradient = torch.autograd.grad(weight * value, features[0], retain_graph=True, allow_unused=True)[0]
                if gradient is not None:  # SAC reaches the proxies alone
                    norms[name].append(gradient.norm().item())
    return {name: sum(values) / len(values) for name, values in norms.items()}


def main(
    runs: Sequence[str],
    iteration: int = 1500,
    batches: int = 6,
    output: str = str(Path(__file__).with_suffix(".md")),
    **overrides: object,
) -> None:
    """Writes a table of runs and terms.

    Args:
        runs: folders of finished runs.
        iteration: of the checkpoint.
        batches: the mean is over.
        output: file to write.
        overrides: keys of the config to look with, e.g. --supervised_losses @dice_ce_losses.
    """
    found = {run: gradient_norms(run, iteration, batches, overrides) for run in runs}
    words = "".join(f" --{key} {shlex.quote(str(value))}" for key, value in overrides.items())
    if Path(output) != Path(__file__).with_suffix(".md"):
        words += f" --output {output}"
    terms = list(dict.fromkeys(name for norms in found.values() for name in norms))
    lines = [
        "# How hard each term pulls",
        "",
        f"`python -m benchmarks.study.gradients --runs \"{list(runs)}\"",
        f"--iteration {iteration} --batches {batches}{words}`: norm of each weighted term's gradient at the first student's last decoder features,",
        "mean over batches. SAC reaches the proxies alone.",
        "",
        f"| term | {' | '.join(runs)} |",
        "| --- |" + " ---: |" * len(found),
    ]
    for term in terms:
        cells = (f"{norms[term]:.1e}" if term in norms else "–" for norms in found.values())
        lines.append(f"| {term} | {' | '.join(cells)} |")
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
