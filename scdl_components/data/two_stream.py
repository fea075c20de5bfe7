# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Two-stream batches: so many labeled and so many unlabeled samples in each, from stateless draws.

Which case a place of a batch takes, and the seed of its random transforms, are pure functions of the loader's seed
and the iteration. Training can therefore start at any iteration and see what an undisturbed run would have seen,
whatever the number of workers, and several processes (ranks) can share out a batch without a word. What cannot be
loaded is left out of its batch if it is unlabeled, and ends the training if it is labeled (:py:mod:`.faults`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from monai.data import list_data_collate
from monai.utils import convert_to_tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..distributed import share
from ..errors import InputError, causes, root_reason
from .faults import Fault, FaultLog, WorkerBoard, start_worker

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
    """Endless batches of draws, from ``start`` on: of several ranks, each one's share of them.

    Args:
        sizes: number of cases of each stream.
        batch_sizes: samples of each stream in a batch of all ranks together.
        seed: of the whole training.

    Raises:
        InputError: when a batch cannot be shared out evenly.
    """

    def __init__(self, sizes: dict[str, int], batch_sizes: dict[str, int], seed: int) -> None:
        self.sizes = sizes
        self.batch_sizes = batch_sizes
        self.seed = seed
        self.shares = {stream: share(size, f"{stream}_batch_size") for stream, size in batch_sizes.items()}
        self.start = 0
        # draws that took a worker down: left out
        self.lost: set[Draw] = set()

    def batch(self, iteration: int) -> list[Draw]:
        """The draws of one iteration, counted from 0, of all ranks."""
        return self._draws(iteration, {stream: range(size) for stream, size in self.batch_sizes.items()})

    def _draws(self, iteration: int, places: dict[str, range]) -> list[Draw]:
        return [
            draw(self.seed, stream, iteration * self.batch_sizes[stream] + i, self.sizes[stream])
            for stream in self.sizes
            for i in places[stream]
        ]

    def __iter__(self) -> Iterator[list[Draw]]:
        iteration = self.start
        while True:
            yield [item for item in self._draws(iteration, self.shares) if item not in self.lost]
            iteration += 1


def of_a_gpu(error: BaseException) -> bool:
    """Whether an error is a GPU's, its memory's among them; torch has no class of its own for all of them."""
    return isinstance(error, RuntimeError) and any(name in str(error) for name in ("CUDA", "CUBLAS", "HIP"))


class TwoStreamDataset(Dataset):
    """Looks draws up in the datasets of the streams, their random transforms seeded by the draw.

    Args:
        datasets: by stream.
        board: where each worker notes the draw that it is at.
    """

    def __init__(self, datasets: dict[str, Dataset], board: WorkerBoard | None = None) -> None:
        self.datasets = datasets
        self.board = board

    def __getitem__(self, item: Draw) -> tuple[str, dict | Fault]:
        dataset = self.datasets[item.stream]
        if self.board is not None:
            self.board.begin(STREAMS.index(item.stream), item.index, item.seed)
        try:
            dataset.transform.set_random_state(seed=item.seed)
            return item.stream, dataset[item.index]
        # whatever a reader or transform says of a file that went bad; it is told where the batch arrives
        except Exception as error:
            if any(map(of_a_gpu, causes(error))):  # volumes are cropped there; no fault of the file
                raise
            return item.stream, Fault(item.stream, self.files(item), root_reason(error))
        finally:
            if self.board is not None:
                self.board.end()

    def files(self, item: Draw) -> str:
        """The files of a draw, in words."""
        case = self.datasets[item.stream].data[item.index]
        paths = [str(case[key]) for key in ("image", "label") if isinstance(case.get(key), (str, bytes))]
        return ", ".join(paths) or f"case {item.index} of {item.stream}"


def collate_streams(samples: Sequence[tuple[str, dict | Fault]]) -> dict[str, dict | list[Fault]]:
    """Samples with their stream -> {"labeled": batch, "unlabeled": batch}, each collated as MONAI does.

    What could not be loaded is in "faults", where there is any; a stream without a sample is missing.
    """
    faults = [sample for _, sample in samples if isinstance(sample, Fault)]
    streams: dict[str, list[dict]] = {}
    for stream, sample in samples:
        if not isinstance(sample, Fault):
            streams.setdefault(stream, []).append(sample)
    batch = {stream: list_data_collate(items) for stream, items in streams.items()}
    return batch | ({"faults": faults} if faults else {})


class TwoStreamLoader(DataLoader):
    """Batches {"labeled": {"image", "label"}, "unlabeled": {"image"}}, endless; its length is one pass over the unlabeled.

    Without unlabeled samples per batch (``unlabeled_batch_size=0``) batches have the labeled part alone and an epoch is
    a pass over the labeled cases.

    Args:
        labeled: MONAI dataset of dicts with "image" and "label"; its ``transform`` is a ``Compose``.
        unlabeled: MONAI dataset of dicts with "image".
        labeled_batch_size: labeled samples a batch, of all ranks together.
        unlabeled_batch_size: unlabeled samples a batch, of all ranks together.
        seed: decides order and random transforms.
        num_workers: processes that load; 0 loads in the training process.
        pin_memory: copy batches into page-locked memory, for faster transfers to a GPU.

    Raises:
        InputError: when a stream that batches ask for has no case, or ranks cannot share a batch evenly; while
            training, when a labeled case cannot be loaded, when no unlabeled one can any more, or when workers die
            again and again.
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
        self.fault_log = FaultLog(sampler.sizes)
        super().__init__(
            TwoStreamDataset(datasets, WorkerBoard(num_workers)),
            batch_sampler=sampler,
            collate_fn=collate_streams,
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=start_worker,
        )

    def __len__(self) -> int:
        return self.epoch_length

    def files(self, iteration: int) -> list[str]:
        """The files of an iteration's batch, counted from 0, those of all ranks; one entry for each sample."""
        return [self.dataset.files(item) for item in self.batch_sampler.batch(iteration)]

    def __iter__(self) -> Iterator[dict[str, dict]]:
        iteration, restarts = self.batch_sampler.start, 0
        batches = self._begin(iteration)
        while True:
            try:
                batch = next(batches)
            except (RuntimeError, OSError, EOFError) as error:
                dead = self.dataset.board.dead(wait=2.0)
                if not dead:
                    raise
                restarts = self._lose(dead, iteration, restarts, error)
                batch = None
            if batch is None:
                batches = None  # ends the other workers, before there are new ones
                batches = self._begin(iteration)
                continue
            faults = batch.pop("faults", [])
            if "unlabeled" in batch:
                self.fault_log.loaded()
            self.fault_log.add(faults, iteration)
            restarts = 0
            iteration += 1
            yield batch

    def _begin(self, iteration: int) -> Iterator[dict[str, dict]]:
        self.batch_sampler.start = iteration
        self.dataset.board.clear()
        with sigchld_unchanged():
            return super().__iter__()

    def _lose(
        self, dead: dict[int, tuple[int, int, int] | None], iteration: int, restarts: int, error: Exception
    ) -> int:
        """Leaves out and counts what dead workers (process id -> what it was loading) took with them.

        Returns:
            Restarts in a row for workers that were loading nothing.
        """
        items = {pid: Draw(STREAMS[row[0]], *row[1:]) for pid, row in dead.items() if row is not None}
        restarts = 0 if items else restarts + 1
        self.fault_log.add_idle(sorted(set(dead) - set(items)), restarts, error)
        self.batch_sampler.lost.update(items.values())
        reason = "the worker process {} that was loading it died"
        faults = [Fault(item.stream, self.dataset.files(item), reason.format(pid)) for pid, item in items.items()]
        self.fault_log.add(faults, iteration)
        return restarts


@contextmanager
def sigchld_unchanged() -> Iterator[None]:
    """Keeps torch from raising a worker's death wherever the training happens to be; the next batch tells of it."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, previous)


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
