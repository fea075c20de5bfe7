# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""In a process of their own: one whose allocator has once failed, as other tests make it, takes large pieces from elsewhere."""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from scdl_components.handlers import ReusedMemory, RunEvents
from scdl_components.inferers import ActivatedSlidingWindowInferer
from scdl_components.memory import give_back, reused_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
SIZE = 64 * 2**20
# more than what the tests leave free between small pieces in use
LARGE = 8 * SIZE


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def allocate(size: int = SIZE) -> None:
    """Takes memory, writes to it and frees it."""
    torch.ones(size, dtype=torch.uint8)


class Held:
    """Pieces of ``SIZE`` that the process has more than at the start."""

    def __init__(self) -> None:
        give_back()
        self.start = self.resident()

    @staticmethod
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def __call__(self) -> float:
        return (self.resident() - self.start) / SIZE


def blocks() -> list[float]:
    held, seen = Held(), []
    with reused_memory():
        allocate()
        seen.append(held())
        for _ in range(10):
            allocate()
    seen.append(held())
    with reused_memory():
        allocate()
    seen.append(held())
    give_back()
    return [*seen, held()]


def test_freed_memory_is_kept_used_again_and_given_back(process):
    first, tenth, later, end = process.submit(blocks).result()
    assert first > 0.9
    # aligned pieces do not always fit where one of the same size was
    assert 0.9 < tenth < 3.5 and 0.9 < later < 3.5
    assert end < 0.5


def outside(error: bool) -> float:
    held = Held()
    try:
        with reused_memory():
            if error:
                raise ValueError
    except ValueError:
        pass
    allocate(LARGE)
    return held()


@pytest.mark.parametrize("error", [False, True])
def test_outside_memory_is_freed_as_ever(process, error):
    assert process.submit(outside, error).result() < 0.5


def run(has_room: bool, size: int, failing: bool = False) -> tuple[list[float], list[float], float]:
    """At the start of each of three iterations, after each one's validation, and after the run."""
    held, before, after = Held(), [], []

    def iteration(engine: Engine, batch: int) -> None:
        before.append(held())
        allocate(size)
        if failing and engine.state.iteration == 3:
            raise ValueError

    def validation() -> None:
        allocate(LARGE)
        after.append(held())

    engine = Engine(iteration)
    engine.register_events(*RunEvents)
    ReusedMemory(lambda: has_room).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, validation)
    try:
        engine.run(range(3))
    except ValueError:
        pass
    engine.fire_event(RunEvents.ENDED)
    return before, after, held()


@pytest.mark.parametrize("failing", [False, True])
def test_iterations_keep_memory_and_validation_does_not(process, failing):
    before, after, end = process.submit(run, True, SIZE, failing).result()
    assert [value > 0.9 for value in before] == [False, True, True]
    assert len(after) == (2 if failing else 3) and max(after) < 3.5
    assert end < 0.5


def test_without_room_iterations_keep_none(process):
    before, _, _ = process.submit(run, False, LARGE).result()
    assert max(before) < 0.5


def windows() -> tuple[list[float], float]:
    held, seen = Held(), []

    def network(window: torch.Tensor) -> torch.Tensor:
        seen.append(held())
        allocate()
        return window

    inferer = ActivatedSlidingWindowInferer(torch.nn.Identity(), roi_size=(16, 16, 16), overlap=0)
    image = torch.rand(1, 1, 48, 16, 16)
    torch.testing.assert_close(inferer(image, network), image)
    return seen, held()


def test_windows_use_one_anothers_memory(process):
    seen, end = process.submit(windows).result()
    assert [value > 0.9 for value in seen] == [False, True, True]
    assert end < 0.5
