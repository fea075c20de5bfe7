# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What unlabeled tokens are taught, against the classes they have: phantoms know them.

    python -m benchmarks.study.tokens --run study/2_labeled/scdl/seed_0

A row for each checkpoint that the run has kept (``--train#checkpoint#n_saved 20`` keeps more than two).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from monai.transforms import Compose

from benchmarks.measure import CONFIGS
from scdl_components.atomic import read_saved
from scdl_components.command import run_command
from scdl_components.errors import InputError
from scdl_components.hosts.base import hard_labels
from scdl_components.losses import SCDLLoss
from scdl_components.networks.features import StudentOutput, WithFeatures
from scdl_components.tokens import pool_labels
from scdl_components.tools.bundle_config import evaluate, read_bundle_config

COLUMNS = ("iteration", "organs by bank", "organs by network", "background to organs", "distance")


def rates(scdl: SCDLLoss, output: StudentOutput, truth: torch.Tensor) -> torch.Tensor:
    """Hits and counts of one batch of unlabeled crops, for the first student.

    Args:
        scdl: with the proxies of a checkpoint.
        output: of the first student on the crops.
        truth: their classes [B, 1, *spatial].

    Returns:
        [3, 2]: of the tokens with a majority class, organ tokens whose class the bank names, and the
        network; background tokens that the bank gives to organs; each with the number of such tokens. The last
        row has the sum of the distances to the assigned classes, and the number of tokens.
    """
    cdba, _ = scdl.losses[0]
    tokens = scdl.tokens([output.features[scdl.feature_module]], truth[:0])[0]
    result = cdba.bank(tokens.features)
    assigned = result.log_q.exp()
    share, label = pool_labels(truth, cdba.bank.num_classes, tokens.grid).max(-1)
    network = pool_labels(hard_labels(output.logits), cdba.bank.num_classes, tokens.grid).argmax(-1)
    organ, background = (share > 0.5) & (label > 0), (share > 0.5) & (label == 0)
    chosen = assigned.argmax(-1)
    rows = [
        ((chosen == label) & organ, organ),
        ((network == label) & organ, organ),
        ((chosen > 0) & background, background),
    ]
    counts = [[hits.sum().item(), of.sum().item()] for hits, of in rows]
    distance = (assigned * (1 - result.similarity)).sum(-1)
    return torch.tensor([*counts, [distance.sum().item(), distance.numel()]], dtype=torch.float64)


def crops(parser, num_crops: int, batch_size: int) -> list[Mapping[str, torch.Tensor]]:
    """Batches of crops of the unlabeled phantoms with their labels, which lie beside the labeled ones'."""
    cases = [item["image"] for item in evaluate(parser, "load_cases")()["unlabeled"]]
    labels = [Path(image).parents[1] / "label" / Path(image).name.replace("img", "label") for image in cases]
    load = Compose(evaluate(parser, "train#deterministic_transforms"))
    crop = Compose(evaluate(parser, "train#random_transforms")).set_random_state(0)
    volumes = [load({"image": image, "label": str(label)}) for image, label in zip(cases, labels)]
    drawn = [crop(volumes[index % len(volumes)]) for index in range(num_crops)]
    batches = [drawn[start : start + batch_size] for start in range(0, num_crops, batch_size)]
    return [{key: torch.stack([item[key] for item in batch]) for key in ("image", "label")} for batch in batches]


def main(run: str, num_crops: int = 28, batch_size: int = 4, **overrides: object) -> None:
    """Prints shares of tokens: rightly named organs, by bank and by network, and background given to organs.

    Args:
        run: folder of a finished run of the study, on phantoms.
        num_crops: crops of the unlabeled cases.
        batch_size: crops at a time; batch norm takes the statistics of a batch, as in training.
        overrides: keys of the config, in place of the run's.

    Raises:
        InputError: it is no such run, or its method is without SCDL.
    """
    folder = Path(run)
    if not (folder / "done.json").is_file():
        raise InputError(f"'{run}' is no finished run of the study; name a folder such as study/2_labeled/scdl/seed_0")
    keys = json.loads((folder / "done.json").read_text(encoding="utf-8"))["overrides"]
    keys = {key: yaml.safe_load(value) for key, value in keys.items()}  # they are kept as text
    parser = read_bundle_config([CONFIGS / "train.yaml", CONFIGS / "phantom.yaml"], {**keys, **overrides})
    network, loss = evaluate(parser, "network_def"), evaluate(parser, "loss_function")
    if loss.scdl is None:
        raise InputError(f"'{run}' is of a method without SCDL: it has no proxies")
    student = WithFeatures(network.students[0], loss.feature_modules).train()
    batches = crops(parser, num_crops, batch_size)
    print("  ".join(COLUMNS))
    found = sorted((folder / "models").glob("checkpoint_*.pt"), key=lambda path: int(path.stem.split("_")[1]))
    for path in found:
        saved = read_saved(path)
        network.load_state_dict(saved["model"])
        loss.load_state_dict(saved["loss"])
        torch.manual_seed(0)
        total = torch.zeros(4, 2, dtype=torch.float64)
        with torch.no_grad():
            for batch in batches:
                total += rates(loss.scdl, student(batch["image"]), batch["label"])
        values = (f"{hits / count:.2f}".rjust(len(name)) for (hits, count), name in zip(total.tolist(), COLUMNS[1:]))
        print("  ".join([str(path.stem.split("_")[1]).rjust(len(COLUMNS[0])), *values]), flush=True)


if __name__ == "__main__":
    run_command(main)
