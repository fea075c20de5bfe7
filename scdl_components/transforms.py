# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Transforms that MONAI does not have."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from monai.config import KeysCollection
from monai.transforms import MapTransform


class SaveClassNamesd(MapTransform):
    """Writes, beside each saved segmentation, a JSON that names the classes of its values.

    Comes after MONAI's ``SaveImaged(savepath_in_metadict=True)``; ``<name>.nii.gz`` gets ``<name>.json``.

    Args:
        keys: segmentations, MetaTensors with ``saved_to`` in their metadata.
        class_names: names by value, background first.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, class_names: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.class_names = list(class_names)

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        d = dict(data)
        for key in self.key_iterator(d):
            segmentation = Path(str(d[key].meta["saved_to"]))
            names = {
                "segmentation": segmentation.name,
                "image": str(d[key].meta["filename_or_obj"]),
                "labels": {str(value): name for value, name in enumerate(self.class_names)},
            }
            sidecar = segmentation.with_name(segmentation.name.removesuffix(".gz").removesuffix(".nii") + ".json")
            sidecar.write_text(json.dumps(names, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return d
