# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""In processes of their own: one whose allocator has once failed takes large pieces from elsewhere."""

import platform
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from scdl_components.handlers import ReusedMemory, RunEvents, reused_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
SIZE = 64 * 2**20
# more than what the tests leave free between small pieces in use
LARGE = 8 * SIZE


def allocate(size: int) -> None:
    """Takes memory, writes to it and frees it."""
    torch.ones(size, dtype=torch.uint8)


def resident() -> float:
    """Pieces of ``SIZE`` that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / SIZE


def run(free: int | None = None, device: str = "cpu", failing: bool = False) -> tuple[list[float], list[float], float]:
    """What is held at the start of each of four iterations, after each one's validation, and after the run.

    Args:
        free: bytes that the machine is said to have free; None: what it has.
        device: of the training.
        failing: whether the last iteration does.
    """
    if free is not None:
        reused_memory.free_memory = lambda: free
    start, before, after = resident(), [], []

    def iteration(engine: Engine, batch: int) -> None:
        before.append(resident() - start)
        allocate(2 * SIZE)
        if failing and engine.state.iteration == 4:
            raise ValueError

    def validation() -> None:
        allocate(LARGE)
        after.append(resident() - start)

    engine = Engine(iteration)
    engine.register_events(*RunEvents)
    ReusedMemory(device).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, validation)
    with suppress(ValueError):
        engine.run(range(4))
    engine.fire_event(RunEvents.ENDED)
    return before, after, resident() - start


@pytest.fixture
def process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_iterations_after_the_first_keep_memory_and_validation_does_not(process):
    before, _, _ = process.submit(run, None, "cuda:0").result()
    assert max(before) < 0.5  # on a GPU
    for failing in (False, True):
        before, after, end = process.submit(run, None, "cpu", failing).result()
        assert [value > 1.8 for value in before] == [False, False, True, True]
        # at most an iteration's pieces more each time, where small ones pin what was kept, never the validation's
        assert len(after) == (3 if failing else 4) and max(b - a for a, b in zip(after, after[1:])) < 2.5
        assert end < 0.5


@pytest.mark.parametrize("pieces, kept", [(2, False), (3, True)])
def test_memory_is_kept_if_the_first_iterations_peak_leaves_room(process, pieces, kept):
    before, _, _ = process.submit(run, pieces * SIZE).result()
    assert (max(before) > 1.8) is kept
