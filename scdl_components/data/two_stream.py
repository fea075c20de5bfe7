# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Two-stream batches: so many labeled and so many unlabeled samples in each, from stateless draws.

Which case a place of a batch takes, and the seed of its random transforms, are pure functions of the loader's seed
and the iteration. Training can therefore start at any iteration and see the samples of an undisturbed run, whatever the
number of workers, and several processes (ranks) share a batch without communication. An unlabeled case that cannot be
loaded is left out of its batch; a labeled one ends the training.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from monai.data import list_data_collate
from monai.utils import convert_to_tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..distributed import share
from ..errors import InputError, root_reason
from .workers import child_handler_kept, start_worker, worker_errors

logger = logging.getLogger(__name__)
STREAMS = ("labeled", "unlabeled")


class Draw(NamedTuple):
    """One sample: the stream, the case's index in it, the seed of its random transforms."""

    stream: str
    index: int
    seed: int


class Fault(NamedTuple):
    """A sample that could not be loaded: its stream, its files, and why."""

    stream: str
    files: str
    reason: str


def draw(seed: int, stream: str, position: int, size: int) -> Draw:
    """Draw the sample at a position of a stream, counted from the start of training."""
    pass_number, place = divmod(position, size)
    entropy = [seed, STREAMS.index(stream), pass_number]
    order = np.random.default_rng(entropy).permutation(size)
    return Draw(stream, int(order[place]), int(np.random.SeedSequence([*entropy, place, 1]).generate_state(1)[0]))


class TwoStreamSampler(Sampler[list[Draw]]):
    """Endless batches of draws, from ``start`` on; of several ranks, this one's share.

    Args:
        sizes: number of cases of each stream.
        batch_sizes: samples of each stream in a batch of all ranks together, which they share evenly.
        seed: of the whole training.
    """

    def __init__(self, sizes: dict[str, int], batch_sizes: dict[str, int], seed: int) -> None:
        self.sizes = sizes
        self.batch_sizes = batch_sizes
        self.seed = seed
        self.shares = {stream: share(size, f"{stream}_batch_size") for stream, size in batch_sizes.items()}
        self.start = 0

    def batch(self, iteration: int, places: dict[str, range] | None = None) -> list[Draw]:
        """Draw an iteration, counted from 0, at these places of the streams or at all."""
        return [
            draw(self.seed, stream, iteration * size + place, self.sizes[stream])
            for stream, size in self.batch_sizes.items()
            for place in (places[stream] if places else range(size))
        ]

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(iteration, self.shares) for iteration in itertools.count(self.start))


class TwoStreamDataset(Dataset):
    """Load what is drawn, each sample's random transforms seeded by its draw."""

    def __init__(self, datasets: dict[str, Dataset]) -> None:
        self.datasets = datasets

    def __getitem__(self, item: Draw) -> tuple[str, dict | Fault]:
        dataset = self.datasets[item.stream]
        try:
            dataset.transform.set_random_state(seed=item.seed)
            return item.stream, dataset[item.index]
        # of whatever kind, from reader or transform; the loader reports it
        except Exception as error:
            return item.stream, Fault(item.stream, self.files(item), root_reason(error))

    def files(self, item: Draw) -> str:
        """Name the files of a draw."""
        case = self.datasets[item.stream].data[item.index]
        paths = [str(case[key]) for key in ("image", "label") if isinstance(case.get(key), (str, bytes))]
        return ", ".join(paths) or f"case {item.index} of {item.stream}"


def collate_streams(samples: Sequence[tuple[str, dict | Fault]]) -> dict[str, dict | list[Fault]]:
    """Collate each stream's samples as MONAI does.

    Returns:
        {"labeled": batch, "unlabeled": batch}, a stream without a sample left out; a list "faults" where there are any.
    """
    parts: dict[str, list] = {}
    for stream, sample in samples:
        parts.setdefault("faults" if isinstance(sample, Fault) else stream, []).append(sample)
    return {name: items if name == "faults" else list_data_collate(items) for name, items in parts.items()}


class TwoStreamLoader(DataLoader):
    """Load endless batches {"labeled": {"image", "label"}, "unlabeled": {"image"}}.

    Its length is one pass over the unlabeled cases. With ``unlabeled_batch_size=0`` batches have the labeled part
    alone, and it is a pass over the labeled cases.

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
            training, when a labeled case cannot be loaded, when no unlabeled one can any more, or when a worker dies.
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
                    "images there, or train on the labeled ones alone with supervised.yaml behind train.yaml"
                )
            datasets["unlabeled"], batch_sizes["unlabeled"] = unlabeled, unlabeled_batch_size
        sampler = TwoStreamSampler({name: len(d) for name, d in datasets.items()}, batch_sizes, seed)
        self.skipped: Counter[str] = Counter()  # unlabeled files that could not be loaded, and how often
        self.failing: set[str] = set()  # those since one was last loaded
        super().__init__(
            TwoStreamDataset(datasets),
            batch_sampler=sampler,
            collate_fn=collate_streams,
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=start_worker,
        )

    def __len__(self) -> int:
        (*_, cases), (*_, samples) = self.batch_sampler.sizes.values(), self.batch_sampler.batch_sizes.values()
        return -(-cases // samples)

    def files(self, iteration: int) -> list[str]:
        """Name the files of each sample of an iteration (from 0), of all ranks."""
        return [self.dataset.files(item) for item in self.batch_sampler.batch(iteration)]

    def __iter__(self) -> Iterator[dict[str, dict]]:
        with child_handler_kept():
            batches = super().__iter__()
        for iteration in itertools.count(self.batch_sampler.start):
            with worker_errors(iteration) if self.num_workers else nullcontext():
                batch = next(batches)
            if "unlabeled" in batch:
                self.failing.clear()
            for fault in batch.pop("faults", []):
                self._skip(fault, iteration)
            yield batch

    def _skip(self, fault: Fault, iteration: int) -> None:
        """Count and report a sample that could not be loaded, or raise InputError."""
        files, reason, number = fault.files, fault.reason, iteration + 1
        again = "run the same command again: training goes on from the last checkpoint"
        if fault.stream == "labeled":
            raise InputError(
                f"the labeled case {files} cannot be loaded in iteration {number}: {reason}. Mend it and {again}"
            )
        self.skipped[files] += 1
        self.failing.add(files)
        logger.warning(
            "iteration %d: skipped %s, %s (%d times; %d skipped samples of %d files in all)",
            *(number, files, reason, self.skipped[files], self.skipped.total(), len(self.skipped)),
        )
        num_unlabeled = self.batch_sampler.sizes["unlabeled"]
        if len(self.failing) == num_unlabeled:
            raise InputError(
                f"none of the {num_unlabeled} unlabeled cases can be loaded any more, the last in iteration {number} "
                f"({files}: {reason}). If their disk is away, bring it back; if it is a transform, mend that. Then {again}"
            )


def prepare_two_stream_batch(
    batch: dict[str, dict], device: torch.device | str, non_blocking: bool = False, **kwargs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put together a batch's images, labeled first [B, 1, *spatial], and labels [B_labeled, 1, *spatial]."""
    parts = [batch[stream]["image"] for stream in STREAMS if stream in batch] + [batch["labeled"]["label"]]
    # plain tensors: training needs no metadata, which slows MONAI's tensors down
    *images, label = (convert_to_tensor(part, track_meta=False).to(device, non_blocking=non_blocking) for part in parts)
    # the layout changes on the device: changed before, the batch would leave page-locked memory
    return torch.cat(images).to(device, **kwargs), label.to(device, **kwargs)
