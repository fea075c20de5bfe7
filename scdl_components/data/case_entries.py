# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Entries of a case list, read from its JSON."""

import json
import os
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError, SettingError
from .reader import SUFFIXES

LISTS = ("labeled", "unlabeled", "validation", "test")
LISTS_WITH_LABELS = ("labeled", "validation")  # a test case given by its image alone can still be segmented
MODALITIES = "modalities"  # key of a case list: what its images are; CT alone where there is none


class CaseListError(InputError):
    """A case list cannot be used.

    Attributes:
        path: of the list.
        problems: one line each.
        cases: the files of the entries without a problem, as :func:`load_cases` returns them.
    """

    def __init__(
        self, path: str, problems: Sequence[str], cases: Mapping[str, list[dict[str, str]]] | None = None
    ) -> None:
        super().__init__(path, problems, cases)
        self.path, self.problems, self.cases = path, list(problems), dict(cases or {})

    def __str__(self) -> str:
        what = (
            f"case list '{self.path}' cannot be used, {len(self.problems)} problem(s); correct the list or the files:"
        )
        return "\n- ".join([what, *self.problems])


@dataclass(frozen=True)
class Entry:
    """An entry of a case list and the items it may stand for.

    Attributes:
        name: its id, or its image's path.
        candidates: items, in order of preference.
    """

    list_name: str
    name: str
    candidates: list[dict[str, str]]

    @cached_property
    def item(self) -> dict[str, str]:
        """The first candidate with all files, else with its image, else the first."""
        return max(self.candidates, key=lambda item: [os.path.exists(path) for path in item.values()])

    @cached_property
    def missing(self) -> list[str]:
        """The item's missing files: ``image``, ``label``."""
        return [key for key, path in self.item.items() if not os.path.exists(path)]


def read_json(path: str) -> dict:
    """Read a JSON object in which no key stands twice.

    Raises:
        CaseListError: the file holds something else.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
            raise ValueError(f"the key {reprlib.repr(twice)} stands twice in one object; keep one of them")
        return dict(pairs)

    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_pairs_hook=unique)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise CaseListError(path, [f"{error}; expected a JSON object with {', '.join(LISTS)}"]) from error
    return content


def check_layouts(layouts: Sequence[Mapping[str, str]]) -> None:
    """Check that each layout has an ``{id}`` in ``"image"`` and in ``"label"``.

    Raises:
        SettingError: one has not, or there is no layout.
    """
    if not layouts or any("{id}" not in layout.get(key, "") for layout in layouts for key in ("image", "label")):
        raise SettingError(
            f"layouts is {layouts}; expected one or more of 'image' and 'label', paths containing '{{id}}'"
        )


def parse_entries(
    content: Mapping[str, object], dataset_dir: str, layouts: Sequence[Mapping[str, str]]
) -> tuple[list[Entry], list[str]]:
    """Parse a case list's JSON into its entries, and collect the problems."""
    entries, problems = [], []
    for key, value in content.items():
        if key not in (*LISTS, MODALITIES) and isinstance(value, list):  # misspelled?
            problems.append(f"unknown list {key!r}; the lists are called {', '.join(LISTS)}")
        elif key in LISTS and not isinstance(value, list):
            problems.append(f"'{key}' is a {type(value).__name__}; expected a list of ids or of image/label paths")
    for name in LISTS:
        values = content.get(name, [])
        for index, value in enumerate(values if isinstance(values, list) else []):
            try:
                entries.append(_parse_entry(name, value, dataset_dir, layouts))
            except ValueError as error:
                problems.append(f"{name}[{index}] {error}")
    return entries, problems


def _parse_entry(list_name: str, value: object, dataset_dir: str, layouts: Sequence[Mapping[str, str]]) -> Entry:
    if isinstance(value, str) and not value.lower().endswith(SUFFIXES):
        # an id becomes part of a path: it must not lead out of the layout's folder
        if not value.strip() or set(value) & set("/\\\0"):
            raise ValueError(
                f"is {reprlib.repr(value)}; expected an id, or a path that ends in {' or '.join(SUFFIXES)}"
            )
        value.encode()  # a lone surrogate, which JSON can spell, is no file name
        keys = ("image",) if list_name == "unlabeled" else ("image", "label")
        items = [{key: layout[key].replace("{id}", value) for key in keys} for layout in layouts]
        return Entry(list_name, value, [_absolute(item, dataset_dir) for item in items])
    files = {"image": value} if isinstance(value, str) else value
    if not isinstance(files, dict):
        raise ValueError(f'is {reprlib.repr(value)}; expected a string (an id as "0001", or a path) or an object')
    item = {}
    for key in ("image", "label") if list_name != "unlabeled" else ("image",):
        path = files.get(key) or ""
        if not isinstance(path, str) or "\0" in path:
            raise ValueError(f"has {reprlib.repr(path)} as '{key}'; expected one path")
        path.encode()
        if path:
            item[key] = os.path.expanduser(path)
        elif key == "image" or list_name in LISTS_WITH_LABELS:
            named = f"'{_absolute(item, dataset_dir)['image']}' " if item else ""
            raise ValueError(f'{named}has no {key}; expected an object {{"image": path, "label": path}}')
    item = _absolute(item, dataset_dir)
    return Entry(list_name, item["image"], [item])


def _absolute(item: Mapping[str, str], folder: str) -> dict[str, str]:
    return {key: os.path.normpath(os.path.join(folder, path)) for key, path in item.items()}
