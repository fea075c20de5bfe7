# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A hash of what a network computes."""

import hashlib
import io

import torch
from torch import nn

PLAIN = (type(None), bool, int, float, str, list, tuple)


def network_hash(network: nn.Module, with_state: bool) -> str:
    """Hash what a network computes: classes and plain attributes of its modules, and tensors.

    Args:
        network: before its first run; a TorchScript module is hashed as it would be saved.
        with_state: whether to hash parameters and buffers; not where they are loaded later.
    """
    content = io.BytesIO()
    if isinstance(network, torch.jit.ScriptModule):
        torch.jit.save(network, content)
        return hashlib.sha256(content.getbuffer()).hexdigest()
    for name, module in network.named_modules():
        attributes = vars(module).items()
        counts = {key: value for key, value in attributes if isinstance(value, PLAIN) and key != "training"}
        content.write(repr((name, type(module).__qualname__, counts)).encode())
    for name, tensor in network.state_dict().items() if with_state else ():
        content.write(repr((name, tensor.dtype, tensor.shape)).encode())
        content.write(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return hashlib.sha256(content.getbuffer()).hexdigest()
