# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""From the network's grid to the patient's, with memory that many classes and long scans leave alone."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import Invertd, MapTransform

from .memory import free_memory

# of a voxel of the original grid, while one class is resampled in float64: sampling positions twice, input and output
INVERSION_BYTES = 80


class InvertArgmaxd(MapTransform):
    """Labels in the original grid of logits in the network's: ``Invertd``, then the argmax, one class at a time.

    The same labels as MONAI's ``Invertd(nearest_interp=False)`` followed by ``AsDiscreted(argmax=True)``, which hold
    all classes in the original grid at once: about 0.4 GB of each class for a scan of 512 × 512 × 150 voxels. Where a GPU
    has not the room for one, it is done on the CPU.

    Args:
        keys: logits [C, *spatial].
        transform: preprocessing that is inverted.
        orig_keys: what it was applied to.
        kwargs: further arguments of MONAI's Invertd.
    """

    def __init__(self, keys: KeysCollection, transform, orig_keys: KeysCollection, **kwargs) -> None:
        super().__init__(keys)
        arguments = {"nearest_interp": False, "to_tensor": True, **kwargs}
        self.inverts = {key: Invertd(key, transform, orig_keys, **arguments) for key in self.keys}

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Replaces the logits by labels [1, *original grid]; uint8, or int16 from 257 classes on."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._labels(result, key)
        return result

    def _labels(self, data: Mapping[Hashable, torch.Tensor], key: Hashable) -> torch.Tensor:
        logits, invert = data[key], self.inverts[key]
        if not has_room(logits.device, original_voxels(logits)):
            logits = logits.cpu()
        dtype = torch.uint8 if len(logits) <= 256 else torch.int16
        best = invert({**data, key: logits[:1]})[key]
        labels = torch.zeros_like(best, dtype=dtype)
        for index in range(1, len(logits)):
            one = invert({**data, key: logits[index : index + 1]})[key]
            labels[one > best] = index
            best = torch.maximum(best, one)
        return labels


def original_voxels(volume: torch.Tensor) -> int:
    """Voxels of the file that a volume [C, *spatial] was made of, as its meta data tell; else its own."""
    shape = getattr(volume, "meta", {}).get("spatial_shape", volume.shape[1:])
    return math.prod(int(size) for size in shape)


def has_room(device: torch.device, voxels: int) -> bool:
    """Whether a class can be resampled to so many voxels on a device; True on a CPU, which has nowhere to turn to."""
    free = None if device.type == "cpu" else free_memory(device)
    return free is None or voxels * INVERSION_BYTES < free
