# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Which modality an image is of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from .dicom import series_modality

CT = "CT"


def modality_of(image: str, other_modalities: Mapping[str, str]) -> str:
    """Modality of an image: a DICOM series' by its headers, a file's by its name, or by that which it links to.

    Args:
        image: its path.
        other_modalities: of each modality that is not CT, a regular expression that finds its images' file names.

    Returns:
        What the headers say, or the first modality whose expression finds one of the names, else ``"CT"``.
    """
    if os.path.isdir(image):
        return series_modality(image) or CT
    names = {os.path.basename(image), os.path.basename(os.path.realpath(image))}
    found = (key for key, pattern in other_modalities.items() if any(re.search(pattern, name) for name in names))
    return next(found, CT)
