# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases preprocessed once, then kept in memory and on disk."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from monai.data import PersistentDataset
from monai.transforms import Compose, RandomizableTrait, Transform
from monai.utils import convert_to_tensor
from tqdm import tqdm

from ..errors import InputError, root_reason
from .dicom import read_series
from .disk_cache import DiskCache

logger = logging.getLogger(__name__)


class CaseDataset(PersistentDataset):
    """Preprocess cases once, keep them on disk by content, and part of them in memory.

    The results of the transforms before the first random one are kept, as plain tensors without meta data. MONAI's
    PersistentDataset knows files by their names alone, and fails on a full disk or a truncated entry.

    Args:
        data: cases {"image": path, "label": path}; unlabeled ones without "label".
        transform: all transforms.
        cache_rate: fraction of the cases that are preprocessed now and kept in memory.
        cache_dir: folder of preprocessed cases, which other processes may use, too; None or False: none.

    Raises:
        InputError: a labeled case cannot be loaded. For an unlabeled one there is a warning, and an error later.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, object]],
        transform: Compose,
        cache_rate: float = 1.0,
        cache_dir: str | os.PathLike | Literal[False] | None = None,
    ) -> None:
        super().__init__(data, transform, cache_dir=None)
        self.first_random = self.transform.get_index_of_first(
            lambda step: isinstance(step, RandomizableTrait) or not isinstance(step, Transform)
        )
        steps = self.transform.transforms[: self.first_random]
        # the reader's own module is in the steps, that of DICOM series is not
        recipe = [steps, self.transform.lazy, self.transform.overrides, read_series]
        self.disk = DiskCache(cache_dir, recipe)
        self.cache_rate = cache_rate
        self.set_data(data)

    def set_data(self, data: Sequence[Mapping[str, object]]) -> None:
        """Replace the cases, and preprocess those that are kept in memory."""
        self.data = data
        self.memory: dict[int, dict] = {}
        for index in tqdm(range(int(len(data) * self.cache_rate)), "loading cases", unit="case"):
            try:
                self.memory[index] = self._cachecheck(data[index])
            except Exception as error:  # whatever a reader or transform says of a file
                told = f"{data[index]} cannot be loaded: {root_reason(error)}"
                if "label" in data[index]:
                    raise InputError(f"the labeled case {told}. Mend it and run the same command again") from error
                logger.warning("%s", told)
        if counts := self.disk.counts:
            logger.info("%s: %d cases read, %d written", self.disk.folder, counts["read"], counts["written"])

    def _cachecheck(self, item_transformed: Mapping[str, object]) -> dict:
        return self.disk.get(item_transformed, lambda: self._pre_transform(dict(item_transformed)))

    def _pre_transform(self, item_transformed: dict) -> dict:
        item = super()._pre_transform(item_transformed)
        return _copied(convert_to_tensor(item, track_meta=False, convert_numeric=False))

    def _post_transform(self, item_transformed: dict) -> dict:
        if self.first_random is None:
            return dict(item_transformed)
        # a crop is a view of what stays in memory; it is copied, as further transforms may work in place
        step = self.transform.transforms[self.first_random]
        item = dict(item_transformed) if "Crop" in type(step).__name__ else _copied(item_transformed)
        item = self.transform(item, start=self.first_random, end=self.first_random + 1)
        return self.transform(_copied(item), start=self.first_random + 1)

    def preprocessed(self, index: int) -> dict:
        """Get a case before its first random transform; not to be changed."""
        item = self.memory.get(index)
        return self._cachecheck(self.data[index]) if item is None else item

    def _transform(self, index: int) -> dict:
        return self._post_transform(self.preprocessed(index % len(self)))


def label_counts(dataset: CaseDataset, num_classes: int) -> torch.Tensor:
    """Count the voxels of each class [num_classes] in all preprocessed, uncropped labels."""
    labels = (dataset.preprocessed(index)["label"].flatten() for index in range(len(dataset)))
    return sum((torch.bincount(label.long(), minlength=num_classes) for label in labels), torch.tensor(0))


def _copied(item: object) -> object:
    """Copy the tensors of an item, as a view keeps all of its memory."""
    if isinstance(item, torch.Tensor):
        return item.clone(memory_format=torch.contiguous_format)
    if isinstance(item, dict):
        return {key: _copied(value) for key, value in item.items()}
    return [_copied(value) for value in item] if isinstance(item, list) else item
