# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What an iteration of training needs, from small iterations on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.two_stream import prepare_two_stream_batch
from ..distributed import alone
from ..losses import NetworkWithLoss
from .live import LiveBytes

Moments = list[tuple[str, int]]
# of the patches that are measured, in multiples of 16; the second for networks that halve them once more
SMALL = (1, 2)


class IterationMemory:
    """Bytes that an iteration takes beside the networks, as a function of patch and batch.

    A patch of n voxels, a batch of L labeled and U unlabeled ones: at each moment of the iteration
    fixed + n (L a + U b) bytes live, and the largest of these is what it needs.

    Args:
        moments: (fixed, a, b) of each moment, [M, 3].
        patch: that was measured, voxels.
        state: bytes that are kept between iterations: the optimizer's.
    """

    def __init__(self, moments: np.ndarray, patch: Sequence[int], state: int = 0) -> None:
        self.moments = moments
        self.patch = tuple(patch)
        self.state = state

    def bytes(self, roi_size: Sequence[int], labeled: int, unlabeled: int) -> int:
        """The most that lives at a time.

        Args:
            roi_size: patch, voxels.
            labeled: samples of a process' batch.
            unlabeled: likewise.
        """
        voxels = float(math.prod(roi_size))
        return int((self.moments @ [1.0, voxels * labeled, voxels * unlabeled]).max()) + self.state


def iteration_memory(
    network: nn.Module,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    feature_module: str | None,
    num_classes: int,
    roi_size: Sequence[int],
    with_unlabeled: bool = True,
    amp_dtype: torch.dtype | None = None,
    in_channels: int = 1,
) -> IterationMemory:
    """Measures small iterations of copies on the CPU: networks, losses and random state are left as they are.

    Images, activations, losses, gradients and the optimizer's state count. Of the bundle's network at 64^3, from a
    patch of 16 x 16 x 32, they are met within 1 %. Not in it are what convolutions take for themselves for a moment,
    what the allocator cannot use, a CUDA context, loaders, cached cases and validation: the first two made a process
    grow by 12 to 17 % more on a CPU; on a GPU this has not been measured.

    Args:
        network: the students.
        loss_function: the objective.
        optimizer: over the parameters of both.
        feature_module: as of the trainer.
        num_classes: of the random labels.
        roi_size: of the training; what is measured is no larger.
        with_unlabeled: whether batches have unlabeled samples.
        amp_dtype: of automatic mixed precision; None for none. Any half precision is measured as bfloat16, as wide.
        in_channels: of the images.

    Raises:
        Exception: whatever the network says of small patches, e.g. one for a fixed size.
    """
    # together, so that the optimizer's parameters are the copies'
    network, loss_function, optimizer = deepcopy((network, loss_function, optimizer))
    network.to("cpu").train()
    loss_function.to("cpu").train()
    for module in network.modules():
        if isinstance(module, nn.SyncBatchNorm):  # which refuses a CPU
            module.forward = partial(_BatchNorm.forward, module)
    network_with_loss = NetworkWithLoss(network, loss_function, feature_module)
    dtype = next(network.parameters()).dtype

    def lives(patch: Sequence[int], labeled: int, unlabeled: int) -> Moments:
        optimizer.zero_grad(set_to_none=True)
        with LiveBytes(chain(network_with_loss.parameters(), network_with_loss.buffers())) as live:
            batch = {"labeled": {"image": torch.rand(labeled, in_channels, *patch, dtype=dtype)}}
            batch["labeled"]["label"] = torch.randint(num_classes, (labeled, 1, *patch), dtype=torch.uint8)
            if unlabeled:
                batch["unlabeled"] = {"image": torch.rand(unlabeled, in_channels, *patch, dtype=dtype)}
            images, label = prepare_two_stream_batch(batch, "cpu")
            with torch.autocast("cpu", torch.bfloat16, enabled=amp_dtype in (torch.float16, torch.bfloat16)):
                loss, _ = network_with_loss(images, label, 0.5)
            loss.backward()
        return live.moments

    patches = small_patches(roi_size)
    with alone(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        # two of each at least: with one, what is contiguous differs, and so do the operations
        for patch in patches:
            try:
                both = lives(patch, 2, 2 * with_unlabeled)
                break
            except (RuntimeError, ValueError):
                if patch == patches[-1]:
                    raise
        more_labeled = lives(patch, 3, 2 * with_unlabeled)
        more_unlabeled = lives(patch, 2, 3) if with_unlabeled else both
        optimizer.step()
    state = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor))
    return IterationMemory(lines(math.prod(patch), both, more_labeled, more_unlabeled), patch, state)


def small_patches(roi_size: Sequence[int]) -> list[tuple[int, ...]]:
    """Patches to measure, the cheapest first, none larger than the training's own.

    One axis is twice the others, for a norm over a single voxel at the lowest level would be refused.
    """
    sizes = [(16 * factor,) * (len(roi_size) - 1) + (32 * factor,) for factor in SMALL]
    return [size for size in sizes if math.prod(size) < math.prod(roi_size)] or [tuple(roi_size)]


def lines(voxels: int, both: Moments, more_labeled: Moments, more_unlabeled: Moments) -> np.ndarray:
    """(fixed, bytes a labeled voxel, bytes an unlabeled voxel) of each moment, [M, 3].

    Args:
        voxels: of a patch.
        both: moments with two samples of each stream.
        more_labeled: with three labeled ones.
        more_unlabeled: with three unlabeled ones.
    """
    runs = (both, more_labeled, more_unlabeled)
    operations = [[operation for operation, _ in run] for run in runs]
    totals = [[total for _, total in run] for run in runs]
    if operations.count(operations[0]) < len(runs):  # what is done depends on the data: the peaks are left
        totals = [[max(run)] for run in totals]
    two, labeled, unlabeled = (np.asarray(run, dtype=np.float64) for run in totals)
    slopes = [(labeled - two) / voxels, (unlabeled - two) / voxels]
    return np.stack([two - 2 * voxels * sum(slopes), *slopes], axis=1)
