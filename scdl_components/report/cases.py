# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The cases to evaluate, out of the case lists that a bundle trains on, and what their segmentations' JSON says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.bundle import ConfigParser

from ..class_names import names_by_value
from ..data.case_list import LISTS, items_by_path
from ..data.results import sidecar_of
from ..errors import InputError


def listed_cases(train_config: str, cases: str, **keys: object) -> list[dict[str, str]]:
    """Items of one list, found as the training config's ``load_cases`` finds them, so that its facts stand in one place.

    Args:
        train_config: config whose key ``load_cases``, called, gives the lists.
        cases: name of the list.
        keys: keys of that config to set before; None keeps the config's own.

    Returns:
        Items ``{"image": path, "label": path}``.

    Raises:
        InputError: there is no such list, it is empty, or a case in it has no label.
    """
    parser = ConfigParser(ConfigParser.load_config_file(train_config))
    parser.update({key: value for key, value in keys.items() if value is not None})
    return _labeled(parser.get_parsed_content("load_cases")(), cases)


def read_case_list(path: str, cases: str) -> list[dict[str, str]]:
    """Items of one list of a JSON with labels, paths relative to its folder resolved.

    Raises:
        InputError: it is no such JSON, or the list lacks cases or labels.
    """
    return _labeled({cases: items_by_path(path, cases)}, cases)


def _labeled(lists: Mapping[str, Sequence[Mapping[str, str]]], cases: str) -> list[dict[str, str]]:
    if cases not in LISTS:
        raise InputError(f"cases is {cases!r}; expected the name of a list: {', '.join(LISTS)}")
    items = [dict(item) for item in lists.get(cases, ())]
    if not items:
        filled = ", ".join(name for name in LISTS if lists.get(name)) or "none"
        raise InputError(f"the list '{cases}' is empty, there is nothing to evaluate; lists with cases: {filled}")
    unlabeled = [item["image"] for item in items if not item.get("label")]
    if unlabeled:
        raise InputError(
            f"{len(unlabeled)} case(s) of the list '{cases}' have no label to compare with; give them one in the case "
            f"list, or evaluate another list: {', '.join(unlabeled)}"
        )
    return items


def read_sidecar(segmentation: Path) -> tuple[list[str], dict[str, object]]:
    """Organs by value, background first, and ``made_with`` of the ``<name>_seg.json`` beside a segmentation.

    Both are empty where there is no such file.

    Raises:
        InputError: it is not a JSON object of that kind.
    """
    path = sidecar_of(segmentation)
    if not path.is_file():
        return [], {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"'{path}' is not JSON ({error}); delete it and run the inference again") from error
    try:
        return names_by_value(content.get("labels", {})), dict(content.get("made_with", {}))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"'{path}' does not name the organs by value; delete it and run the inference again"
        ) from error
