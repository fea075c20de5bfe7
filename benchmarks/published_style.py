# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle against a plain loop in the style of the published code, in turn, in one process.

    python -m benchmarks.published_style                                        # 96³, 16 filters: about ten minutes
    python -m benchmarks.published_style --roi_size "[32,32,32]" --num_filters 8

The plain loop is written for this benchmark: float32, volumes cropped in NumPy, losses term by term out of PyTorch's
operations, SCDL as [B, C, L, S], every loss fetched in every step; windows at strides 32, 32, 16 one by one, softmax of
the mean logits, added up in NumPy. Networks, batch, windows and arithmetic are the same on both sides. What ours does
otherwise is the bundle's default: freed memory is used again, windows run two at a time, channels last, batch norm folded;
on a GPU mixed precision and volumes that are kept and cropped there, windows not channels last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from statistics import median

import fire
import numpy as np
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from benchmarks.machine import machine
from benchmarks.scdl_cost import published_encoder, published_output, similarity_matmul
from benchmarks.step_time import BUNDLE, clock, ratio, seconds, workflow
from scdl_components.engines.dual_student_trainer import WithFeatures
from scdl_components.losses.cdba import cdba_terms
from scdl_components.losses.sac import sac_loss
from scdl_components.networks import DualStudent, VNet, fold_batch_norm
from scdl_components.proxies import ProxyBank, PublishedAssignment, pool_labels, pool_tokens

NUM_CLASSES = 14
# the published module's size, on both sides
PUBLISHED_TOKENS = {"voxels_per_token": 8, "embed_dim": 256}
KEYS = ("voxels_per_token", "embed_dim", "scdl_weight", "separation_weight", "distance_weight", "sac_weight")


def plain_ga_ce(logits: torch.Tensor, target: torch.Tensor, top_k: float, gamma: float = 0.5) -> torch.Tensor:
    """GA-CE out of PyTorch's operations: logits [B, C, *spatial], target [B, 1, *spatial]."""
    entropy, classes = F.cross_entropy(logits, target[:, 0], reduction="none").flatten(), target.flatten()
    entropy, kept = torch.topk(entropy, int(entropy.numel() * top_k / 100))
    classes = classes[kept]
    loss = 0
    for c in range(logits.shape[1]):
        of_class = classes == c
        count = of_class.sum().item()
        if count:
            loss = loss + entropy[of_class].sum() / (count ** (1 - gamma) * classes.numel() ** gamma)
    return loss


def plain_ga_dice(logits: torch.Tensor, target: torch.Tensor, smooth: float = 1e-10) -> torch.Tensor:
    """GA-Dice out of PyTorch's operations."""
    prob = logits.softmax(1)
    one_hot = F.one_hot(target[:, 0], logits.shape[1]).movedim(-1, 1).float()
    loss = 0
    for c in range(logits.shape[1]):
        p, t = prob[:, c], one_hot[:, c]
        if t.sum().item():
            loss = loss + 1 - (2 * (p * t).sum() + smooth) / ((p * p).sum() + (t * t).sum() + smooth)
        else:
            loss = loss + ((p / (1 - t).sum()).detach() * p).sum()
    return loss / logits.shape[1]


class PlainLoop:
    """Training step by step, as a script would have it.

    Args:
        volumes: (image, label) arrays; the first two are the labelled ones.
        roi_size: patch.
        num_filters: of the V-Nets.
        keys: of the bundle's config: weights and token size.
        device: of networks and losses; the volumes stay in main memory.
    """

    def __init__(self, volumes: Sequence, roi_size: Sequence[int], num_filters: int, keys: dict, device: torch.device) -> None:
        self.volumes, self.roi_size, self.keys, self.device = volumes, roi_size, keys, device
        self.network = DualStudent(VNet(1, NUM_CLASSES, num_filters)).to(device).train()
        self.students = [WithFeatures(student, "block_nine") for student in self.network.students]
        self.banks = [ProxyBank(num_filters, NUM_CLASSES, keys["embed_dim"], assignment=PublishedAssignment()) for _ in range(2)]
        for bank in self.banks:
            bank.encoder = published_encoder(num_filters)
            bank.to(device)
        parameters = [p for module in (self.network, *self.banks) for p in module.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.random = np.random.default_rng(0)

    def crop(self, image: np.ndarray, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        start = [self.random.integers(size - n + 1) for size, n in zip(image.shape, self.roi_size)]
        window = tuple(slice(s, s + n) for s, n in zip(start, self.roi_size))
        return image[window].astype(np.float32), None if label is None else label[window].astype(np.int64)

    def step(self) -> dict[str, float]:
        """One iteration; every loss as a number."""
        chosen = [*self.random.integers(0, 2, 2), *self.random.integers(2, len(self.volumes), 2)]
        crops = [self.crop(*self.volumes[index]) for index in chosen]
        images = torch.from_numpy(np.stack([image for image, _ in crops]))[:, None].to(self.device)
        target = torch.from_numpy(np.stack([label for _, label in crops[:2]]))[:, None].to(self.device)
        keys, grid = self.keys, tuple(n // self.keys["voxels_per_token"] for n in self.roi_size)
        logits, features = zip(*(student(images) for student in self.students))
        pseudo = [output.detach().argmax(1, keepdim=True) for output in logits]
        weights = pool_labels(target, NUM_CLASSES, grid)
        losses = {
            "ga_ce": sum(plain_ga_ce(output[:2], target, 10) for output in logits),
            "ga_dice": sum(plain_ga_dice(output[:2], target) for output in logits),
            "cps": 0.1 * sum(plain_ga_ce(output, other, 100) for output, other in zip(logits, pseudo[::-1])),
            "scdl": 0,
        }
        for bank, (feature,) in zip(self.banks, features):
            tokens = pool_tokens(feature, grid)
            for part, labels in ((tokens[:2], weights), (tokens[2:], None)):
                output = published_output(bank, bank.encode(part), similarity_matmul)
                terms = cdba_terms(output, labels)
                losses["scdl"] += keys["scdl_weight"] * (
                    keys["separation_weight"] * terms.separation + keys["distance_weight"] * terms.distance
                )
            losses["scdl"] += keys["scdl_weight"] * keys["sac_weight"] * sac_loss(bank, tokens[:2], weights)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}


def plain_segmentation(network: DualStudent, image: np.ndarray, roi_size: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Labels of a volume by windows one by one, their probabilities added up in NumPy."""
    device = next(network.parameters()).device
    score = np.zeros((NUM_CLASSES, *image.shape), np.float32)
    count = np.zeros(image.shape, np.float32)
    starts = [sorted({min(i, size - n) for i in range(0, size - n + stride, stride)}) for size, n, stride in zip(image.shape, roi_size, strides)]
    for start in product(*starts):
        window = tuple(slice(s, s + n) for s, n in zip(start, roi_size))
        patch = torch.from_numpy(image[window])[None, None].to(device)
        logits = sum(student(patch) for student in network.students) / 2
        score[(slice(None), *window)] += logits.softmax(1)[0].cpu().numpy()
        count[window] += 1
    return (score / count).argmax(0)


def training(pairs: int, roi_size: Sequence[int], num_filters: int, spacing: float) -> tuple[list[float], list[float]]:
    """Seconds of iterations of the plain loop and of ours, in turn."""
    plain, ours, start = [], [], [0.0]
    with tempfile.TemporaryDirectory() as folder:
        scale = {"roi_size": list(roi_size), "num_filters": num_filters, **PUBLISHED_TOKENS}
        run = workflow(folder, spacing, max_iterations=pairs + 1, val_interval=10**6, **scale)
        trainer, streams = run.trainer, run.trainer.data_loader.dataset.datasets
        device = torch.device(trainer.state.device)
        volumes = [
            (np.asarray(item["image"][0].cpu()), np.asarray(item["label"][0].cpu()) if "label" in item else None)
            for stream in ("labeled", "unlabeled")
            for item in (streams[stream]._load_cache_item(index) for index in range(len(streams[stream].data)))
        ]
        loop = PlainLoop(volumes, roi_size, num_filters, {key: run.parser.get_parsed_content(key) for key in KEYS}, device)

        @trainer.on(Events.GET_BATCH_STARTED)
        def begin() -> None:
            start[0] = clock(device)

        def end() -> None:
            taken = clock(device) - start[0]
            trainer.state.output = None  # as at the start of an iteration: nothing of the last one is held
            trainer.optimizer.zero_grad(set_to_none=True)
            if trainer.state.iteration > 1:  # the first one warms up
                ours.append(taken)
                plain.append(seconds(loop.step, device))
                loop.optimizer.zero_grad(set_to_none=True)
                print(f"iteration: plain {plain[-1]:.2f} s, ours {ours[-1]:.2f} s", flush=True)
            else:
                loop.step()

        # last of all handlers, so that logging is in the iteration
        trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
        trainer.run()
    return plain, ours


def inference(repeats: int, roi_size: Sequence[int], num_filters: int) -> tuple[list[float], list[float], float]:
    """Seconds of a volume of both sides, in turn, and the mean Dice between their labels."""
    strides = [roi_size[0] // 3, roi_size[1] // 3, roi_size[2] // 6]
    run = ConfigWorkflow(
        str(BUNDLE / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        roi_size=list(roi_size),
        num_filters=num_filters,
        # MONAI rounds roi_size · (1 − overlap) down: a little more, so that rounding cannot make a stride one voxel shorter
        overlap=[1 - (stride + 0.25) / n for stride, n in zip(strides, roi_size)],
        window_weights="constant",
        window_activation="$torch.nn.Softmax(dim=1)",
        progress=False,
        load_pretrain=False,
    )
    run.initialize()
    inferer, network = run.inferer, run.parser.get_parsed_content("network")
    device = next(network.parameters()).device
    amp, dtype = (run.parser.get_parsed_content(key) for key in ("amp", "amp_dtype"))
    image = np.random.default_rng(0).random([round(n * 4 / 3) for n in roi_size], np.float32)
    with torch.no_grad():
        for _ in range(5):  # running statistics that belong to such images
            network.train()(torch.from_numpy(image[None, None, : roi_size[0], : roi_size[1], : roi_size[2]]).to(device))
        as_published = deepcopy(network).eval().to(memory_format=torch.contiguous_format)
        plain, ours = [], []
        for _ in range(repeats):
            labels: dict[str, np.ndarray] = {}
            plain.append(seconds(lambda: labels.update(plain=plain_segmentation(as_published, image, roi_size, strides))))

            def bundle() -> None:
                with torch.autocast(device.type, dtype, enabled=amp):  # as MONAI's evaluator
                    score = inferer(torch.from_numpy(image)[None, None].to(device), fold_batch_norm(network))
                labels.update(ours=score[0].argmax(0).cpu().numpy())

            ours.append(seconds(bundle))
            print(f"volume: plain {plain[-1]:.2f} s, ours {ours[-1]:.2f} s", flush=True)
    both = [[labels[side] == c for side in ("plain", "ours")] for c in np.unique(labels["plain"])]
    return plain, ours, float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in both]))


def main(
    pairs: int = 3,
    repeats: int = 2,
    roi_size: Sequence[int] = (96, 96, 96),
    num_filters: int = 16,
    spacing: float = 2.0,
    threads: int = 1,
    report: str = "",
) -> None:
    """Measures both and prints a Markdown table.

    Args:
        pairs: iterations of each side.
        repeats: volumes of each side.
        roi_size: patch and window.
        num_filters: of the V-Nets.
        spacing: of the phantoms, mm.
        threads: of PyTorch.
        report: Markdown file to write the table to.
    """
    torch.set_num_threads(threads)
    plain_steps, steps = training(pairs, roi_size, num_filters, spacing)
    plain_volumes, volumes, dice = inference(repeats, roi_size, num_filters)
    text = f"""# Against a plain loop in the published style

`python -m benchmarks.published_style --pairs {pairs} --repeats {repeats} --roi_size "{list(roi_size)}" --num_filters {num_filters}`,
{threads} thread(s),
{machine()}; medians, in brackets the extremes.

| what | plain, s | ours, s | times as fast |
| --- | --- | --- | --- |
| training iteration, batch 2 + 2 | {median(plain_steps):.2f} | {median(steps):.2f} | {ratio(plain_steps, steps)} |
| volume, strides of a third, a third and a sixth of the window | {median(plain_volumes):.2f} | {median(volumes):.2f} | {ratio(plain_volumes, volumes)} |

Mean Dice between the labels of both sides: {dice:.6f}. Every window of the volume holds noise: none is skipped as air.
"""
    print(text)
    if report:
        Path(report).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
