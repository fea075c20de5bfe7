# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import platform
import resource
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from scdl_components.handlers import ReusedMemory, RunEvents
from scdl_components.inferers import ActivatedSlidingWindowInferer
from scdl_components.memory import give_back, reused_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
SIZE = 64 * 2**20
# aligned pieces do not always fit where one of the same size was
LIMIT = 3.5 * SIZE
# more than what the tests leave free between small pieces in use
LARGE = 8 * SIZE


def allocate(size: int = SIZE) -> None:
    """Takes memory, writes to it and frees it."""
    torch.ones(size, dtype=torch.uint8)


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(autouse=True)
def start() -> int:
    """What the process has before the test."""
    give_back()
    yield resident()
    give_back()


def test_freed_memory_is_kept_used_again_and_given_back(start):
    with reused_memory():
        allocate()
        assert resident() - start > 0.9 * SIZE
        for _ in range(10):
            allocate()
    assert 0.9 * SIZE < resident() - start < LIMIT
    with reused_memory():
        allocate()
    assert resident() - start < LIMIT
    give_back()
    assert resident() - start < 0.5 * SIZE


def test_outside_memory_is_freed_as_ever(start):
    with reused_memory():
        allocate(SIZE // 4)
    allocate(LARGE)
    assert resident() - start < 0.5 * SIZE


def test_after_an_error_too(start):
    with pytest.raises(ValueError), reused_memory():
        raise ValueError
    allocate(LARGE)
    assert resident() - start < 0.5 * SIZE


def run(has_room: bool, size: int, failing: bool = False) -> tuple[list[int], list[int]]:
    """Bytes that the process has at the start of each of three iterations, and after each one's validation."""
    before, after = [], []

    def iteration(engine: Engine, batch: int) -> None:
        before.append(resident())
        allocate(size)
        if failing and engine.state.iteration == 3:
            raise ValueError

    def validation() -> None:
        allocate(LARGE)
        after.append(resident())

    engine = Engine(iteration)
    engine.register_events(*RunEvents)
    ReusedMemory(lambda: has_room).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, validation)
    try:
        engine.run(range(3))
    except ValueError:
        assert failing
    finally:
        engine.fire_event(RunEvents.ENDED)
    return before, after


@pytest.mark.parametrize("failing", [False, True])
def test_iterations_keep_memory_and_validation_does_not(start, failing):
    before, after = run(True, SIZE, failing)
    assert [value - start > 0.9 * SIZE for value in before] == [False, True, True]
    assert max(after) - start < LIMIT
    assert resident() - start < 0.5 * SIZE


def test_without_room_iterations_keep_none(start):
    before, _ = run(False, LARGE)
    assert max(before) - start < 0.5 * SIZE


def test_windows_use_one_anothers_memory(start):
    seen = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.append(resident() - start)
        allocate()
        return windows

    inferer = ActivatedSlidingWindowInferer(torch.nn.Identity(), roi_size=(16, 16, 16), overlap=0)
    image = torch.rand(1, 1, 48, 16, 16)
    torch.testing.assert_close(inferer(image, network), image)
    assert [value > 0.9 * SIZE for value in seen] == [False, True, True]
    assert resident() - start < 0.5 * SIZE
