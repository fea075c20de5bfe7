# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the classes, in a bundle's metadata.json and in the JSON of a segmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import InputError, MissingFileError


def names_by_value(names: Mapping[str, str]) -> list[str]:
    """Sort the names of ``{"0": "background", "1": …}`` by their values.

    Raises:
        InputError: when a value has no name.
    """
    missing = [value for value in range(len(names)) if str(value) not in names]
    if missing:
        raise InputError(
            f"names of classes are {dict(names)}; expected one for each value from 0, there is none for {missing}"
        )
    return [names[str(value)] for value in range(len(names))]


def class_names(metadata: str) -> list[str]:
    """Read the names by value, background first, from a bundle's metadata.json.

    Raises:
        MissingFileError: when there is no such file.
    """
    if not Path(metadata).is_file():
        raise MissingFileError(
            f"no metadata at {metadata}: name a bundle's configs/metadata.json with --metadata, or in a config its folder "
            "with --bundle_root"
        )
    content = json.loads(Path(metadata).read_text(encoding="utf-8"))
    return names_by_value(content["network_data_format"]["outputs"]["pred"]["channel_def"])
