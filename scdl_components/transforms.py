# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""From the network's grid back to the patient's."""

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import Invertd, MapTransform

from .errors import causes
from .memory import is_shortage


class InvertArgmaxd(MapTransform):
    """Turn logits in the network's grid into labels in the image's, class by class.

    The labels equal those of MONAI's ``Invertd(nearest_interp=False)`` followed by ``AsDiscreted(argmax=True)``, which
    hold all classes in the original grid at once: about 0.4 GB a class for a scan of 512 × 512 × 150 voxels. Where a
    GPU has no room for one class, the CPU does it.

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
        """Replace the logits by labels [1, *original grid]; uint8, or int16 from 257 classes on."""
        result = dict(data)
        for key in self.key_iterator(result):
            try:
                result[key] = self._labels(result, key)
            except RuntimeError as error:
                if not any(map(is_shortage, causes(error))):  # MONAI wraps what a transform raises
                    raise
                result[key] = self._labels({**result, key: result[key].cpu()}, key)
        return result

    def _labels(self, data: Mapping[Hashable, torch.Tensor], key: Hashable) -> torch.Tensor:
        logits, invert = data[key], self.inverts[key]
        best = invert({**data, key: logits[:1]})[key]
        labels = torch.zeros_like(best, dtype=torch.uint8 if len(logits) <= 256 else torch.int16)
        for index in range(1, len(logits)):
            one = invert({**data, key: logits[index : index + 1]})[key]
            labels[one > best] = index
            best = torch.maximum(best, one)
        return labels
