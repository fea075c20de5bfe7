# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets that hold more than CT: which modality an image is of, and cases that a list does not mean to hold."""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .dicom import series_modality

CT = "CT"
MODALITIES = "modalities"  # key of a case list: what its images are; CT alone where there is none


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
    names = [os.path.basename(path) for path in (image, os.path.realpath(image))]
    matching = (
        modality for modality, pattern in other_modalities.items() if any(re.search(pattern, name) for name in names)
    )
    return next(matching, CT)


def modality_problems(
    cases: Iterable[tuple[str, str, str]],
    accepted: object,
    other_modalities: Mapping[str, str],
    lists_with: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Cases of a modality that their list does not say it holds, in one problem for each modality.

    Args:
        cases: of each case the name to show, its list, and its image's path.
        accepted: ``"modalities"`` of the case list.
        other_modalities: as in :func:`modality_of`.
        lists_with: of each modality the named lists that hold it.
    """
    if not isinstance(accepted, list) or not all(isinstance(modality, str) for modality in accepted):
        yield f'"{MODALITIES}" is {reprlib.repr(accepted)}; expected a list such as ["CT"]'
        return
    strangers: dict[str, list[str]] = {}
    for name, list_name, image in cases:
        modality = modality_of(image, other_modalities)
        if modality not in accepted:
            strangers.setdefault(modality, []).append(f"'{name}' ({list_name})")
    for modality, named in strangers.items():
        meant = "".join(f", or use --case_list {name}" for name in lists_with.get(modality, ()))
        yield (
            f"{len(named)} case(s) are {modality} in a list of {' and '.join(accepted)}: {', '.join(named)}; take them "
            f'out; if they are meant, add "{MODALITIES}": {json.dumps([*accepted, modality])} to the list{meant}'
        )
