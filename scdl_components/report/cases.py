# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The cases to evaluate, of a bundle's case list."""

from collections.abc import Mapping, Sequence

from monai.bundle import ConfigParser

from ..data.case_entries import LISTS
from ..data.case_list import items_by_path
from ..errors import InputError


def listed_cases(train_config: str, cases: str, **keys: object) -> list[dict[str, str]]:
    """Find the items of one list as the training config's ``load_cases`` does; files of other lists may be elsewhere.

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
    return _labeled(parser.get_parsed_content("load_cases")(needed=cases), cases)


def read_case_list(path: str, cases: str) -> list[dict[str, str]]:
    """Read the items of one list of a JSON; relative paths start at its folder.

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
