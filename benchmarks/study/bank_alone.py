# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Can SCDL's losses tell the classes apart at all? A proxy bank trained alone on the features of a trained student.

    python -m benchmarks.study.bank_alone --run tuning/4_labeled/cps_ga/seed_101 --phantoms tuning/phantoms_4_labeled

Tokens of random patches of the labelled phantoms go through a new bank, trained with SCDL's terms on their labels; then
tokens of validation phantoms are given the nearest class mean. The network does not learn: what is seen is what the
losses make of features that hold enough, which a probe (the same encoder, class-balanced cross entropy) shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import fire
import torch
from monai.data import CacheDataset
from monai.transforms import (
    Compose,
    CropForegroundd,
    LoadImaged,
    Orientationd,
    RandSpatialCropd,
    ScaleIntensityRanged,
    SpatialPadd,
)

from scdl_components.data.phantom import SYNAPSE_ORGANS
from scdl_components.engines.dual_student_trainer import WithFeatures
from scdl_components.networks.weights import load_weights
from scdl_components.losses import ClassMean, TokenMean
from scdl_components.losses.cdba import cdba_terms
from scdl_components.losses.sac import sac_loss
from scdl_components.networks import DualStudent, VNet
from scdl_components.proxies import BidirectionalAssignment, ProxyBank, PublishedAssignment, pool_labels, pool_tokens
from scdl_components.report.cases import read_case_list

NUM_CLASSES, FILTERS, PATCH, EMBED_DIM = 14, 8, 32, 64
TAIL = ("gallbladder", "portal and splenic veins", "esophagus", "left adrenal gland", "right adrenal gland")
TERMS = {"separation": 1.0, "distance": 1.0, "sac": 2.0, "agreement": 0.0}
PUBLISHED, BIDIRECTIONAL = PublishedAssignment(), BidirectionalAssignment(0.1)
PUBLISHED_SIGMA = math.log(2)
# name -> (averaging, assignment, weights, learning rate, initial spread)
VARIANTS: dict[str, tuple] = {
    "mean over tokens": (TokenMean(), PUBLISHED, TERMS, 0.1, PUBLISHED_SIGMA),
    "mean over tokens, without SAC": (TokenMean(), PUBLISHED, {**TERMS, "sac": 0.0}, 0.1, PUBLISHED_SIGMA),
    "mean over tokens, at the networks' rate": (TokenMean(), PUBLISHED, TERMS, 0.001, PUBLISHED_SIGMA),
    "mean over tokens, agreement": (TokenMean(), BIDIRECTIONAL, {**TERMS, "agreement": 0.1}, 0.1, PUBLISHED_SIGMA),
    "mean over classes": (ClassMean(), PUBLISHED, TERMS, 0.1, PUBLISHED_SIGMA),
    "mean over classes, without SAC": (ClassMean(), PUBLISHED, {**TERMS, "sac": 0.0}, 0.1, PUBLISHED_SIGMA),
    "mean over classes, at the networks' rate": (ClassMean(), PUBLISHED, TERMS, 0.001, PUBLISHED_SIGMA),
    "mean over classes, agreement": (ClassMean(), BIDIRECTIONAL, {**TERMS, "agreement": 0.1}, 0.1, PUBLISHED_SIGMA),
    "mean over tokens, spread of 0.05": (TokenMean(), PUBLISHED, TERMS, 0.1, 0.05),
    "mean over tokens, spread of 0.05, at the networks' rate": (TokenMean(), PUBLISHED, TERMS, 0.001, 0.05),
    "mean over classes, spread of 0.05": (ClassMean(), PUBLISHED, TERMS, 0.1, 0.05),
    "mean over classes, spread of 0.05, at the networks' rate": (ClassMean(), PUBLISHED, TERMS, 0.001, 0.05),
    "mean over classes, spread of 0.05, at ten times that": (ClassMean(), PUBLISHED, TERMS, 0.01, 0.05),
    "mean over classes, spread of 0.05, agreement": (
        ClassMean(), BIDIRECTIONAL, {**TERMS, "agreement": 0.1}, 0.1, 0.05
    ),
}


@torch.no_grad()
def tokens_of(network: DualStudent, cases: Sequence[Mapping], number: int, edge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [number, L, D] of the first student on random patches, and their labels [number, L, C]."""
    keys = ["image", "label"]
    load = [
        LoadImaged(keys, ensure_channel_first=True),
        Orientationd(keys, axcodes="RAS", labels=None),
        ScaleIntensityRanged("image", -125, 275, 0, 1, clip=True),
        CropForegroundd(keys, source_key="image"),
        SpatialPadd(keys, [PATCH] * 3),
    ]
    crop = RandSpatialCropd(keys, [PATCH] * 3, random_size=False).set_random_state(seed=0)
    volumes = CacheDataset(cases, Compose(load), progress=False)
    student = WithFeatures(network.students[0], "block_nine")
    tokens, weights, grid = [], [], (PATCH // edge,) * 3
    for first in range(0, number, 4):
        patches = [crop(volumes[index % len(volumes)]) for index in range(first, first + 4)]
        images, label = (torch.stack([torch.as_tensor(patch[key]) for patch in patches]) for key in keys)
        _, (features,) = student(images.as_tensor())
        tokens.append(pool_tokens(features, grid))
        weights.append(pool_labels(label.as_tensor(), NUM_CLASSES, grid))
    return torch.cat(tokens), torch.cat(weights)


def tokens_of_run(run: str, phantoms: str, edge: int) -> tuple[torch.Tensor, ...]:
    """Tokens and their labels of the labelled phantoms, and of the validation phantoms."""
    network = DualStudent(VNet(1, NUM_CLASSES, FILTERS))
    load_weights(str(Path(run, "models", "model.pt")), network)
    network.train()  # as SCDL sees it: batch norm of the batch
    lists = str(Path(phantoms, "case_list.json"))
    parts = (("labeled", 160), ("validation", 64))
    return sum((tokens_of(network, read_case_list(lists, part), number, edge) for part, number in parts), ())


def trained(parameters: list, loss: Callable[[int], torch.Tensor], steps: int, learning_rate: float) -> None:
    optimizer = torch.optim.SGD(parameters, learning_rate, momentum=0.9, weight_decay=1e-4)
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


def four(samples: torch.Tensor, step: int) -> torch.Tensor:
    """The four samples of a step."""
    first = 4 * step % len(samples)
    return samples[first : first + 4]


def probed(tokens: torch.Tensor, weights: torch.Tensor, seen: torch.Tensor, steps: int, seed: int) -> torch.Tensor:
    """Classes [N, L] of tokens ``seen`` [N, L, D] by a probe trained on ``tokens`` and their labels ``weights``."""
    torch.manual_seed(seed)
    bank, last = ProxyBank(tokens.shape[-1], NUM_CLASSES, EMBED_DIM), torch.nn.Linear(EMBED_DIM, NUM_CLASSES)

    def loss(step: int) -> torch.Tensor:
        x, w = four(tokens, step), four(weights, step)
        share = w / w.sum((0, 1)).clamp_min(1e-6)
        return -(share * last(bank.encode(x)).log_softmax(-1)).sum() / (w.sum((0, 1)) > 0).sum()

    trained([*bank.parameters(), *last.parameters()], loss, steps, 0.1)
    with torch.no_grad():
        return last(bank.eval().encode(seen)).argmax(-1)


def recalls(found: torch.Tensor, weights: torch.Tensor) -> tuple[float, float, float]:
    """Accuracy, and the mean recalls of all classes and of the five smallest organs."""
    truth, names = weights.argmax(-1), ["background", *SYNAPSE_ORGANS]
    each = torch.stack([(found[truth == c] == c).float().mean() for c in range(NUM_CLASSES)])
    return (found == truth).float().mean().item(), each.nanmean().item(), each[[names.index(n) for n in TAIL]].nanmean().item()


def main(
    run: str, phantoms: str, edge: int = 2, steps: int = 300, seeds: Sequence[int] = (0, 1, 2),
    output: str = str(Path(__file__).with_suffix(".md")),
) -> None:
    """Writes the table.

    Args:
        run: folder of a finished run of the study, whose first student gives the features.
        phantoms: the study's, with their case_list.json.
        edge: of a token in voxels.
        steps: of each training, four patches each.
        seeds: of each bank.
        output: file to write.
    """
    tokens, weights, seen, seen_weights = tokens_of_run(run, phantoms, edge)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return four(tokens, step), four(weights, step)

    def scdl(seed: int, averaging, assignment, terms: Mapping[str, float], learning_rate: float, sigma: float) -> torch.Tensor:
        torch.manual_seed(seed)
        bank = ProxyBank(FILTERS, NUM_CLASSES, EMBED_DIM, initial_sigma=sigma, assignment=assignment)

        def loss(step: int) -> torch.Tensor:
            x, w = batch(step)
            found = cdba_terms(bank(x), w, averaging)
            return (
                terms["separation"] * found.separation
                + terms["distance"] * found.distance
                + terms["agreement"] * found.agreement
                + terms["sac"] * sac_loss(bank, x, w)
            )

        trained(list(bank.parameters()), loss, steps, learning_rate)
        with torch.no_grad():
            return bank.eval()(seen).assigned.log_q.argmax(-1)

    lines = [
        "# A proxy bank alone",
        "",
        f"`python -m benchmarks.study.bank_alone --run {run} --phantoms {phantoms} --edge {edge}",
        f'--steps {steps} --seeds "{list(seeds)}"`: tokens of {edge}³ voxels; smallest to largest of the seeds; of tokens',
        "of validation phantoms, the share whose nearest class mean is that of",
        "their largest class.",
        "",
        "| what | all tokens | mean of classes | mean of the five smallest organs |",
        "| --- | --- | --- | --- |",
    ]
    tasks: dict[str, Callable[[int], torch.Tensor]] = {
        "probe: class-balanced cross entropy": lambda seed: probed(tokens, weights, seen, steps, seed)
    }
    tasks |= {name: lambda seed, v=variant: scdl(seed, *v) for name, variant in VARIANTS.items()}
    for name, task in tasks.items():
        figures = [recalls(task(seed), seen_weights) for seed in seeds]
        cells = " | ".join(f"{min(column):.2f} to {max(column):.2f}" for column in zip(*figures))
        lines.append(f"| {name} | {cells} |")
        print(lines[-1], flush=True)
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
