# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Whether training fits into memory, found out before it starts, and which settings would."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from monai.utils import ensure_tuple_rep
from torch import nn

from ..distributed import highest, on_rank_zero, world_size
from ..errors import InputError
from .available import free_memory
from .estimate import IterationMemory, iteration_memory
from .shortage import memory_shortages

logger = logging.getLogger(__name__)

# what a process really takes, over the estimate: 1.12 to 1.17 measured on a CPU (64^3, 8 and 16 filters, also bfloat16)
MARGIN = 1.2
# where freed memory is kept for later iterations: 1.19 times that (benchmarks/reused_memory.md), and some room
MARGIN_OF_REUSE = 1.5


class Setting(NamedTuple):
    """What decides the memory of an iteration: patch, samples of a process' batch, mixed precision or not."""

    roi_size: tuple[int, ...]
    labeled: int
    unlabeled: int
    amp: bool


class MemoryCheck:
    """Compares what an iteration needs, as :func:`iteration_memory` estimates it, with what the device has free.

    The estimate is of the tensors alone and rather low: training is refused where even these do not fit, warned of
    within ``MARGIN``, and what is recommended fits with it. Validation and cached cases are not in it.

    Args:
        network: the students.
        loss_function: the objective.
        optimizer: over the parameters of both.
        feature_module: as of the trainer.
        num_classes: background included.
        roi_size: patch, voxels.
        labeled_batch_size: samples of an iteration, of all processes together.
        unlabeled_batch_size: likewise.
        voxels_per_token: what is recommended holds whole tokens where the patch does.
        device: of the training.
        amp: whether it runs in mixed precision, ``amp_dtype``.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_function: nn.Module,
        optimizer: torch.optim.Optimizer,
        feature_module: str | None,
        num_classes: int,
        roi_size: Sequence[int],
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        voxels_per_token: int | Sequence[int],
        device: torch.device | str,
        amp: bool,
        amp_dtype: torch.dtype,
    ) -> None:
        self.parts = (network, loss_function, optimizer, feature_module, num_classes, roi_size)
        self.ranks = world_size()
        # rounded up; sizes that cannot be shared are the loader's to refuse
        labeled, unlabeled = (-(-size // self.ranks) for size in (labeled_batch_size, unlabeled_batch_size))
        self.setting = Setting(tuple(roi_size), labeled, unlabeled, bool(amp))
        self.token = ensure_tuple_rep(voxels_per_token, len(roi_size))
        self.device = torch.device(device)
        self.amp_dtype = amp_dtype
        self._estimates: dict[bool, IterationMemory | None] = {}

    def run(self) -> None:
        """Logs what is needed and what is free; without an estimate, that there is none.

        Raises:
            InputError: what is needed is not free; the message lists what would be.
        """
        free = free_memory(self.device)
        self._compare(free if free is None else -highest(-free))

    def reserve(self) -> int | None:
        """Bytes that should stay free for training; None where there is no estimate."""
        needed = self.needed(self.setting)
        return needed and int(needed * MARGIN)

    def has_room_for_reuse(self) -> bool:
        """Whether this is a CPU, with room for an iteration whose freed memory is kept (:func:`reused_memory`)."""
        if self.device.type != "cpu":
            return False
        needed, free = self.needed(self.setting), free_memory(self.device)
        return needed is not None and free is not None and needed * MARGIN_OF_REUSE < free

    def guarded(self, training: Callable[[], object]) -> object:
        """Result of a function.

        Raises:
            MemoryShortageError: memory ran out in it; the message lists what needs less.
        """
        with memory_shortages(self._way_out):
            return training()

    @on_rank_zero
    def _compare(self, free: int | None) -> None:
        needed = self.needed(self.setting)
        if needed is None or free is None:
            return
        figures = f"an estimated {gigabytes(needed)} on {self.device} beside the networks, {gigabytes(free)} are free"
        logger.info("an iteration of training needs %s", figures)
        if needed > free:
            raise InputError(
                f"an iteration of training needs {figures}. {self.advice(free / MARGIN)}\n"
                "--check_memory False trains without this check"
            )
        if needed * MARGIN > free:
            logger.warning("memory may run out: an iteration of training needs %s", figures)

    def needed(self, setting: Setting) -> int | None:
        """Bytes that an iteration takes beside the networks; None where there is no estimate."""
        if setting.amp not in self._estimates:
            self._estimates[setting.amp] = self._measure(self.amp_dtype if setting.amp else None)
        estimate = self._estimates[setting.amp]
        return estimate and estimate.bytes(*setting[:3])

    def _measure(self, amp_dtype: torch.dtype | None) -> IterationMemory | None:
        network = self.parts[0]
        try:
            estimate = iteration_memory(*self.parts, with_unlabeled=self.setting.unlabeled > 0, amp_dtype=amp_dtype)
        # networks and losses are the user's choice, and so is what they say of small patches: training tells whether
        # they work
        except Exception as error:
            logger.warning(
                "no estimate of the memory that training needs, and none is reused: %s: %s", type(error).__name__, error
            )
            return None
        if self.ranks > 1:  # DistributedDataParallel keeps the gradients once more
            estimate.state += sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
        return estimate

    def advice(self, limit: float, heading: str = "What would fit") -> str:
        """Overrides of the config that need no more than so many bytes, one a line; else the best there is."""
        gpu = self.device.type == "cuda"
        half = self.setting._replace(amp=True)
        choices = [half if gpu and not self.setting.amp and self.needed(half) <= limit else None]
        choices.append(self._smaller_batch(self.setting, limit))
        patch = self._smaller_patch(self.setting, limit)
        least = self.setting._replace(labeled=1, unlabeled=min(self.setting.unlabeled, 1), amp=gpu or self.setting.amp)
        if not any(choices):
            together = least if self.needed(least) <= limit else self._smaller_patch(least, limit)
            # what gives no larger patch is worth nothing
            choices.append(together if together and (not patch or together.roi_size != patch.roi_size) else None)
        fitting = [choice for choice in (*choices, patch) if choice is not None]
        if fitting:
            return f"{heading}:\n" + "\n".join(map(self._line, fitting))
        smallest = self._smaller_patch(least, math.inf, most=2) or least
        return f"The least that can be set does not fit, either:\n{self._line(smallest)}"

    def _smaller_batch(self, setting: Setting, limit: float) -> Setting | None:
        def at(samples: int) -> Setting:
            return setting._replace(
                labeled=min(setting.labeled, samples), unlabeled=min(setting.unlabeled, samples)
            )

        return self._largest(at, max(setting.labeled, setting.unlabeled) - 1, limit)

    def _smaller_patch(self, setting: Setting, limit: float, most: int | None = None) -> Setting | None:
        # what was measured is the smallest that the network takes
        step = min(self._estimates[setting.amp].patch)
        whole = [math.lcm(step, token) for token in self.token]
        steps = whole if all(n % s == 0 for n, s in zip(setting.roi_size, whole)) else [step] * len(whole)

        def at(number: int) -> Setting:
            return setting._replace(roi_size=tuple(min(n, number * s) for n, s in zip(setting.roi_size, steps)))

        return self._largest(at, (most or max(-(-n // s) for n, s in zip(setting.roi_size, steps))) - 1, limit)

    def _largest(self, at: Callable[[int], Setting], most: int, limit: float) -> Setting | None:
        """The last of at(1), ..., at(most) that needs no more than ``limit``; they need more and more."""
        number = bisect_right(range(1, most + 1), limit, key=lambda n: self.needed(at(n)))
        return at(number) if number else None

    def _line(self, setting: Setting) -> str:
        words = []
        if setting.roi_size != self.setting.roi_size:
            words.append(f'--roi_size "{list(setting.roi_size)}"')
        if setting.labeled != self.setting.labeled:
            words.append(f"--labeled_batch_size {setting.labeled * self.ranks}")
        if setting.unlabeled != self.setting.unlabeled:
            words.append(f"--unlabeled_batch_size {setting.unlabeled * self.ranks}")
        if setting.amp != self.setting.amp:
            words.append("--amp True")
        return f"- {' '.join(words)}: {gigabytes(self.needed(setting))}"

    def _way_out(self) -> str:
        needed = self.needed(self.setting)
        if needed is None:
            keys = "Smaller --roi_size, --labeled_batch_size and --unlabeled_batch_size need less; "
        else:
            # a good deal less, for how much there is was not known
            less = self.advice(needed / MARGIN / MARGIN, heading="What needs less")
            keys = f"An iteration needs an estimated {gigabytes(needed)} beside the networks. {less}\n"
        if self.device.type == "cuda":
            cached = "--cache_device cpu keeps the cases off the GPU"
        else:
            cached = "--cache_rate 0.25 keeps fewer cases in memory"
        return (
            f"{keys}{cached}, and --sw_batch_size 1 needs less in validation. To go on from a checkpoint, name what "
            "you change, e.g. --allow_changed \"['roi_size']\""
        )


def gigabytes(number: float) -> str:
    """Bytes in words."""
    return f"{number / 1e9:.2f} GB"
