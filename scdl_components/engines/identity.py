# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What a network computes, whatever it is called."""

from __future__ import annotations

import functools
import hashlib
import inspect
import io

import torch
from torch import nn


def network_hash(network: nn.Module, with_state: bool) -> str:
    """Hash what a network computes: its modules' code and plain attributes, and its tensors.

    A TorchScript module is hashed as it would be saved.

    Args:
        network: as it is before it runs.
        with_state: whether its parameters and buffers count; not where they are loaded later.
    """
    digest = hashlib.sha256()
    if isinstance(network, torch.jit.ScriptModule):
        saved = io.BytesIO()
        torch.jit.save(network, saved)
        digest.update(saved.getbuffer())
        return digest.hexdigest()
    for name, module in network.named_modules():
        attributes = vars(module).items()
        counts = [item for item in attributes if is_plain(item[1]) and item[0] != "training" and item[0][0] != "_"]
        digest.update(repr((name, _code(type(module)), counts)).encode())
    for name, tensor in network.state_dict().items() if with_state else ():
        digest.update(repr((name, tensor.dtype, tensor.shape)).encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def is_plain(value: object) -> bool:
    """Whether a value's text says all of it."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


@functools.cache
def _code(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # made at run time
        return f"{kind.__module__}.{kind.__qualname__}"
