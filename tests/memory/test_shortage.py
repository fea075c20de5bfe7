# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from scdl_components.memory import MemoryShortageError, memory_shortages


def too_much() -> torch.Tensor:
    return torch.empty(2**60, dtype=torch.uint8)  # more than a process can address


def test_the_allocators_error_gets_a_way_out():
    with pytest.raises(MemoryShortageError, match=r"(?s)memory ran out \(.*DefaultCPUAllocator.*\)\. Take less"):
        with memory_shortages(lambda: "Take less"):
            too_much()


def test_the_inner_of_two_has_the_word():
    with pytest.raises(MemoryShortageError) as raised:
        with memory_shortages(lambda: "outer"), memory_shortages(lambda: "inner"):
            too_much()
    assert str(raised.value).endswith("inner")


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_other_words_for_the_same(error):
    with pytest.raises(MemoryShortageError):
        with memory_shortages(lambda: ""):
            raise error


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="size of tensor") as raised:
        with memory_shortages(lambda: "Take less"):
            torch.ones(2) + torch.ones(3)
    assert not isinstance(raised.value, MemoryShortageError)
