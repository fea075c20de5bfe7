# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes of the tensors that live while something is computed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Follows the memory of all tensors made within ``with LiveBytes(known) as live``, until each is freed.

    What an operation takes for itself and gives back before it ends (the workspace of a convolution) is not seen.

    Args:
        known: tensors that were there before, e.g. parameters: operations on their memory do not count.

    Attributes:
        moments: (operation, bytes that live when it has ended) of each in turn.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.moments: list[tuple[str, int]] = []
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._live: dict[int, int] = {}  # address -> bytes
        self._total = 0

    @property
    def peak(self) -> int:
        """The most that lived at a time, bytes."""
        return max((total for _, total in self.moments), default=0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf.untyped_storage())
        self.moments.append((str(func), self._total))
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if size and address not in self._live and address not in self._known:
            self._live[address] = size
            self._total += size
            weakref.finalize(storage, self._forget, address).atexit = False

    def _forget(self, address: int) -> None:
        self._total -= self._live.pop(address)
