# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""An iteration of a host against a plain loop in the style of its published code.

    python -m benchmarks.hosts                                           # 64³, 16 filters
    python -m benchmarks.hosts --roi_size "[32,32,32]" --num_filters 8   # any key of the training's config
    python -m benchmarks.hosts --host magicnet
    python -m benchmarks.hosts --scdl True                               # the host with SCDL

In one process: iterations of the bundle's trainer (data, students, losses, optimizer, logging), then steps of the plain
loop, float32, on the same phantoms. Not in turn: the plain loop would use the memory that the trainer keeps for itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import fire
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import figures, machine, seconds, show, training_workflow
from benchmarks.plain_loop import PlainLoop
from benchmarks.plain_magicnet import PlainMagicNet
from benchmarks.step_time import WARM_UP, plain_volumes, record_parts
from scdl_components.networks import DualStudent, VNet


class PlainDHC(PlainLoop):
    """DHC with NumPy histograms and one-hot volumes, each loss term by term."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        num_classes = self.students[0].out_conv.out_channels
        self.last_dice = torch.full((num_classes,), 1e-8, device=self.device)
        self.learned, self.unlearned = torch.zeros_like(self.last_dice), torch.zeros_like(self.last_dice)
        self.missing = torch.ones_like(self.last_dice)
        self.rarity = rarity([label for _, label in self.volumes[:2]], num_classes)

    def losses(self, logits: Sequence[Tensor], pseudo: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
        weights = self.difficulty(pseudo[0][:2], target), self.distribution(pseudo[1][2:])
        cps = (F.cross_entropy(x, t[:, 0], w) for x, t, w in zip(logits, pseudo[::-1], weights))
        return {
            "ce": sum(F.cross_entropy(x[:2], target[:, 0], w) for x, w in zip(logits, weights)),
            "dice": sum(weighted_dice(x[:2], target, w) for x, w in zip(logits, weights)),
            "cps": 0.1 * sum(cps),
        }

    def difficulty(self, found: Tensor, target: Tensor) -> Tensor:
        one_hots = (one_hot(labels, len(self.last_dice)) for labels in (found, target))
        dice = dice_of(*one_hots, smooth=1e-8)
        change, growth = dice - self.last_dice, torch.log(dice / self.last_dice)
        self.last_dice = dice
        zero = torch.zeros_like(change)
        self.learned = 0.98 * self.learned + 0.02 * torch.where(change > 0, change, zero) * growth
        self.unlearned = 0.98 * self.unlearned + 0.02 * torch.where(change <= 0, change, zero) * growth
        self.missing = 0.98 * self.missing + 0.02 * (1 - dice)
        weights = ((self.unlearned + 1e-8) / (self.learned + 1e-8)) ** 0.2 * self.missing
        return weights / weights.max() * len(weights)

    def distribution(self, found: Tensor) -> Tensor:
        self.rarity = 0.99 * self.rarity + 0.01 * rarity(found.cpu().numpy(), len(self.rarity))
        return torch.from_numpy(self.rarity).float().to(self.device)


def rarity(labels: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    counts = sum(np.histogram(label, np.arange(num_classes + 1))[0] for label in labels).astype(float)
    weights = np.log((counts.max() + 1e-8) / (counts + 1e-8))
    return weights / weights.max() * num_classes


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    return torch.zeros(len(labels), num_classes, *labels.shape[2:], device=labels.device).scatter_(1, labels, 1)


def dice_of(p: Tensor, t: Tensor, smooth: float) -> Tensor:
    """Dice [C] over the batch from true positives, false positives and false negatives."""
    hits, false, missed = ((a * b).sum((0, 2, 3, 4)) for a, b in ((p, t), (p, 1 - t), (1 - p, t)))
    return (2 * hits + smooth) / (2 * hits + false + missed + smooth)


def weighted_dice(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    dice = dice_of(logits.softmax(1), one_hot(target, len(weights)), smooth=1.0)
    return -(dice * weights)[1:].mean()


# host -> overlays of its published recipe, plain loop, its students and their norm
HOSTS = {"dhc": (["dhc"], PlainDHC, 2, "batch"), "magicnet": (["magicnet"], PlainMagicNet, 1, "instance")}


def iterations(host: str, pairs: int, **scale: object) -> dict[str, list[float]]:
    """Seconds of the host's iterations, of their parts, and of the plain loop's steps."""
    overlays, plain, students, norm = HOSTS[host]
    with tempfile.TemporaryDirectory() as folder:
        run = training_workflow(folder, overlays=overlays, max_iterations=pairs + WARM_UP, **scale)
        trainer, keys = run.trainer, ("num_classes", "num_filters", "roi_size")
        num_classes, filters, roi_size = (run.parser.get_parsed_content(key) for key in keys)
        network = DualStudent(VNet(1, num_classes, filters, norm), [torch.nn.init.kaiming_normal_] * students)
        times = record_parts(trainer)
        trainer.run()
        trainer.state.output = None
        trainer.optimizer.zero_grad(set_to_none=True)
        device = torch.device(trainer.state.device)
        loop = plain(network, [], plain_volumes(run), roi_size, device)
        times["plain"] = [seconds(loop.step, device) for _ in range(pairs + WARM_UP)]
    return {name: values[WARM_UP:] for name, values in times.items()}


def main(
    host: str = "dhc",
    pairs: int = 5,
    roi_size: Sequence[int] = (64, 64, 64),
    num_filters: int = 16,
    spacing: float = 3.0,
    threads: int = 2,
    scdl: bool = False,
    output: str = "",
    **overrides: object,
) -> None:
    """Measures and prints a table; arguments as of ``benchmarks.step_time``."""
    torch.set_num_threads(threads)
    scale = {"roi_size": list(roi_size), "num_filters": num_filters, "spacing": spacing, "scdl": scdl, **overrides}
    print(f"{host}, batch 2 + 2, {scale}, {threads} threads, {machine()}; medians and extremes of {pairs}")
    times = iterations(host, pairs, **scale)
    rows = [figures("an iteration", times["iteration"])]
    rows += [figures(f"a step of the plain loop, over the iteration: {host}", times["plain"], times["iteration"])]
    show(rows, output)


if __name__ == "__main__":
    fire.Fire(main)
