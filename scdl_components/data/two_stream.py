# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Two-stream batches: so many labeled and so many unlabeled samples in each, from stateless draws.

Which case a place of a batch takes, and the seed of its random transforms, are pure functions of the loader's seed
and the iteration. Training can therefore start at any iteration and see what an undisturbed run would have seen,
whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.data import list_data_collate
from monai.utils import convert_to_tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import InputError

STREAMS = ("labeled", "unlabeled")


class Draw(NamedTuple):
    """One sample: the stream, the case's index in it, the seed of its random transforms."""

    stream: str
    index: int
    seed: int


def shuffled(seed: int, stream: str, epoch: int, size: int) -> np.ndarray:
    """Order [size] in which pass number ``epoch`` visits a stream's cases."""
    return np.random.default_rng([seed, STREAMS.index(stream), epoch]).permutation(size)


def draw(seed: int, stream: str, position: int, size: int) -> Draw:
    """The sample at a position (counted from the start of training) of a stream of ``size`` cases."""
    epoch, place = divmod(position, size)
    entropy = np.random.SeedSequence([seed, STREAMS.index(stream), epoch, place, 1])
    return Draw(stream, int(shuffled(seed, stream, epoch, size)[place]), int(entropy.generate_state(1)[0]))


class TwoStreamSampler(Sampler[list[Draw]]):
    """Endless batches of draws, from ``start`` on.

    Args:
        sizes: number of cases of each stream.
        batch_sizes: samples of each stream in a batch.
        seed: of the whole training.
    """

    def __init__(self, sizes: dict[str, int], batch_sizes: dict[str, int], seed: int) -> None:
        self.sizes = sizes
        self.batch_sizes = batch_sizes
        self.seed = seed
        self.start = 0

    def batch(self, iteration: int) -> list[Draw]:
        """The draws of one iteration, counted from 0."""
        return [
            draw(self.seed, stream, iteration * self.batch_sizes[stream] + i, self.sizes[stream])
            for stream in self.sizes
            for i in range(self.batch_sizes[stream])
        ]

    def __iter__(self) -> Iterator[list[Draw]]:
        iteration = self.start
        while True:
            yield self.batch(iteration)
            iteration += 1


class TwoStreamDataset(Dataset):
    """Looks draws up in the datasets of the streams, their random transforms seeded by the draw."""

    def __init__(self, datasets: dict[str, Dataset]) -> None:
        self.datasets = datasets

    def __getitem__(self, item: Draw) -> tuple[str, dict]:
        dataset = self.datasets[item.stream]
        dataset.transform.set_random_state(seed=item.seed)
        return item.stream, dataset[item.index]


def collate_streams(samples: Sequence[tuple[str, dict]]) -> dict[str, dict]:
    """Samples with their stream -> {"labeled": batch, "unlabeled": batch}, each collated as MONAI does."""
    streams = dict.fromkeys(stream for stream, _ in samples)
    return {stream: list_data_collate([sample for s, sample in samples if s == stream]) for stream in streams}


class TwoStreamLoader(DataLoader):
    """Batches {"labeled": {"image", "label"}, "unlabeled": {"image"}}, endless; its length is one pass over the unlabeled.

    Without unlabeled samples per batch (``unlabeled_batch_size=0``) batches have the labeled part alone and an epoch is
    a pass over the labeled cases.

    Args:
        labeled: MONAI dataset of dicts with "image" and "label"; its ``transform`` is a ``Compose``.
        unlabeled: MONAI dataset of dicts with "image".
        labeled_batch_size: labeled samples a batch.
        unlabeled_batch_size: unlabeled samples a batch.
        seed: decides order and random transforms.
        num_workers: processes that load; 0 loads in the training process.
        pin_memory: copy batches into page-locked memory, for faster transfers to a GPU.

    Raises:
        InputError: when a stream that batches ask for has no case.
    """

    def __init__(
        self,
        labeled: Dataset,
        unlabeled: Dataset | None = None,
        labeled_batch_size: int = 2,
        unlabeled_batch_size: int = 2,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if labeled_batch_size < 1 or len(labeled) == 0:
            raise InputError(
                f"training needs labeled samples: got {len(labeled)} labeled cases and labeled_batch_size="
                f"{labeled_batch_size}. Put cases into the case list's 'labeled', or raise labeled_batch_size to 1"
            )
        datasets, batch_sizes = {"labeled": labeled}, {"labeled": labeled_batch_size}
        if unlabeled_batch_size > 0:
            if unlabeled is None or len(unlabeled) == 0:
                raise InputError(
                    "semi-supervised training needs unlabeled cases and the case list's 'unlabeled' is empty. Add "
                    "images there, or train on the labeled ones alone with --unlabeled_batch_size 0 "
                    "--loss_terms \"['@supervised_term']\""
                )
            datasets["unlabeled"], batch_sizes["unlabeled"] = unlabeled, unlabeled_batch_size
        sampler = TwoStreamSampler({name: len(d) for name, d in datasets.items()}, batch_sizes, seed)
        last = list(datasets)[-1]
        self.epoch_length = -(-sampler.sizes[last] // batch_sizes[last])
        super().__init__(
            TwoStreamDataset(datasets),
            batch_sampler=sampler,
            collate_fn=collate_streams,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )

    def __len__(self) -> int:
        return self.epoch_length


def prepare_two_stream_batch(
    batch: dict[str, dict], device: torch.device | str, non_blocking: bool = False, **kwargs
) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a two-stream batch, labeled first [B, 1, *spatial], and the labels [B_labeled, 1, *spatial]."""
    parts = [batch[stream]["image"] for stream in STREAMS if stream in batch] + [batch["labeled"]["label"]]
    # plain tensors: training needs no metadata, and MONAI's slow every operation down
    *images, label = (
        convert_to_tensor(part, track_meta=False).to(device, non_blocking=non_blocking, **kwargs) for part in parts
    )
    return torch.cat(images), label
