# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps memory runs in a process of its own: one whose allocator has once failed takes large pieces from elsewhere."""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from monai.transforms import Lambda, apply_transform

from scdl_components.inferers import ActivatedSlidingWindowInferer
from scdl_components.memory import MemoryShortageError, give_back, memory_shortages, reused_memory

only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
SIZE = 64 * 2**20


def too_much(_: object = None) -> torch.Tensor:
    return torch.empty(2**60, dtype=torch.uint8)  # more than a process can address


@pytest.mark.parametrize("taking", [too_much, lambda: apply_transform(Lambda(too_much), 0)], ids=["bare", "transform"])
def test_the_allocators_error_gets_a_way_out(taking):
    with pytest.raises(MemoryShortageError, match=r"(?s)memory ran out \(.*DefaultCPUAllocator.*\)\. Take less"):
        with memory_shortages("Take less"):
            taking()


def test_the_inner_of_two_has_the_word():
    with pytest.raises(MemoryShortageError) as raised:
        with memory_shortages("outer"), memory_shortages("inner"):
            too_much()
    assert str(raised.value).endswith("inner")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_other_words_for_the_same(error):
    with pytest.raises(MemoryShortageError):
        with memory_shortages(""):
            raise error


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="size of tensor") as raised:
        with memory_shortages("Take less"):
            torch.ones(2) + torch.ones(3)
    assert not isinstance(raised.value, MemoryShortageError)


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


@only_glibc
def test_freed_memory_is_kept_used_again_and_given_back(process):
    first, tenth, later, end = process.submit(blocks).result()
    assert first > 0.9
    # aligned pieces do not always fit where one of the same size was
    assert 0.9 < tenth < 3.5 and 0.9 < later < 3.5
    assert end < 0.5


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


@only_glibc
def test_windows_use_one_anothers_memory(process):
    seen, end = process.submit(windows).result()
    assert [value > 0.9 for value in seen] == [False, True, True]
    assert end < 0.5
