# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Case lists: from a JSON of ids or paths to the files of each list, with every problem of the list in one message.

A case list is a JSON object in MONAI's decathlon manner with the lists ``labeled``, ``unlabeled``, ``validation`` and
``test``. An entry is an id (``"0023"``, whose files are found through the dataset's layouts), an object
``{"image": path, "label": path}``, or the path of an image alone. Relative paths start at the dataset's folder. A list
is of CTs unless its ``"modalities"`` says what else it holds.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..distributed import on_rank_zero
from ..errors import InputError, MissingFileError
from .paths import given_path
from .reader import CT, SUFFIXES, modality_of

LISTS = ("labeled", "unlabeled", "validation", "test")
LISTS_WITH_LABELS = ("labeled", "validation")  # a test case given by its image alone can still be segmented
MODALITIES = "modalities"  # key of a case list: what its images are; CT alone where there is none


class CaseListError(InputError):
    """A case list that must not be used.

    Attributes:
        path: of the list.
        problems: one line each.
        cases: the files of the entries that have no problem of their own, as :func:`load_cases` returns them.
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


class NoDataError(MissingFileError):
    """None of a list's cases is in the dataset's folder."""


@dataclass(frozen=True)
class Entry:
    """Hold an entry of a case list and the items it may stand for.

    Attributes:
        name: its id, or its image's path.
        candidates: items, in order of preference.
    """

    list_name: str
    name: str
    candidates: list[dict[str, str]]

    @cached_property
    def item(self) -> dict[str, str]:
        """The first candidate whose files are all there, else whose image is, else the first."""
        return max(self.candidates, key=lambda item: [os.path.exists(path) for path in item.values()])

    @cached_property
    def missing(self) -> list[str]:
        """Which of the item's files are not there: ``image``, ``label``."""
        return [key for key, path in self.item.items() if not os.path.exists(path)]


@on_rank_zero
def load_cases(
    dataset_dir: str,
    case_list: str,
    layouts: Sequence[Mapping[str, str]],
    case_lists_dir: str | None = None,
    labeled_percent: float | None = None,
    allow_overlap: Sequence[str] = (),
    other_modalities: Mapping[str, str] | None = None,
    where_to_get: str = "",
    phantom_hint: str = "",
) -> dict[str, list[dict[str, str]]]:
    """Read a case list, check it, and find the files of its cases.

    A list that contradicts itself is refused although none of its files is there.

    Args:
        dataset_dir: the dataset's folder.
        case_list: the name of a list in ``case_lists_dir``, or the path of a ``.json`` (absolute, or relative to the
            working directory or to ``dataset_dir``).
        layouts: where the files of an id may be, in order of preference, case by case; each maps ``"image"`` and
            ``"label"`` to a path relative to ``dataset_dir`` that contains ``{id}``.
        case_lists_dir: folder of the named lists.
        labeled_percent: ``<name>_<labeled_percent>p.json`` is looked for before ``<name>.json``.
        allow_overlap: names of lists that may share cases.
        other_modalities: for each modality but CT, a regular expression that finds its images by their file names. They
            are refused in a list whose ``"modalities"`` do not name it.
        where_to_get: where the data is to be had, for the message when there is none.
        phantom_hint: how to run without the data, for the same message.

    Returns:
        For each of ``labeled``, ``unlabeled``, ``validation``, ``test`` its items, with absolute paths:
        ``{"image": ..., "label": ...}``; unlabeled items, and test cases listed by image alone, have no ``"label"``.

    Raises:
        CaseListError: the list cannot be used; the message has all its problems.
        NoDataError: the list is sound but none of its cases is under ``dataset_dir``.
        ValueError: a layout without ``{id}``, or an unknown list in ``allow_overlap``.
    """
    check_layouts(layouts)
    if unknown := [name for name in allow_overlap if name not in LISTS]:
        raise ValueError(f"allow_overlap names {unknown}; the lists are {list(LISTS)}")
    dataset_dir = os.path.abspath(given_path(dataset_dir, "dataset_dir"))
    path = find_case_list(case_list, case_lists_dir, labeled_percent, dataset_dir)
    content = read_json(path)
    entries, problems = _parse_entries(content, dataset_dir, layouts)
    if not content.get("labeled"):
        problems.append("'labeled' is missing or empty; training needs at least one labeled case")
    problems += _membership_problems(entries, allow_overlap)
    problems += _modality_problems(entries, content.get(MODALITIES, [CT]), other_modalities or {})
    if not entries or any("image" not in entry.missing for entry in entries):
        problems += _file_problems(entries)
    elif problems:
        problems.append(f"besides, none of its {len(entries)} cases is under '{dataset_dir}'")
    else:
        looked = "".join(f"\n- {' with '.join(item.values())}" for item in entries[0].candidates)
        folder = "the folder" if os.path.isdir(dataset_dir) else "no such folder:"
        hints = (("Where to get the data", where_to_get), ("Without the data", phantom_hint))
        raise NoDataError(
            f"no data: none of the {len(entries)} cases of '{path}' was found; {folder} '{dataset_dir}' "
            f"(dataset_dir). Looked for, for example for '{entries[0].name}':{looked}"
            + "".join(f"\n{title}: {text}" for title, text in hints if text)
        )
    sound = [entry for entry in entries if not entry.missing]
    cases = {name: [entry.item for entry in sound if entry.list_name == name] for name in LISTS}
    if problems:
        raise CaseListError(path, list(dict.fromkeys(problems)), cases)
    return cases


def items_by_path(path: str, list_name: str) -> list[dict[str, str]]:
    """Read the items of one list of a JSON that gives its cases by path.

    Relative paths start at the JSON's folder.

    Raises:
        CaseListError: it cannot be read, or an entry gives no image, or no label where the list needs one.
    """
    lists = {list_name: read_json(path).get(list_name, [])}
    entries, problems = _parse_entries(lists, os.path.dirname(os.path.abspath(path)), ())
    problems += [f"'{entry.name}' is an id; expected image and label" for entry in entries if not entry.candidates]
    if problems:
        raise CaseListError(path, problems)
    return [entry.candidates[0] for entry in entries]


def find_case_list(case_list: str, case_lists_dir: str | None, labeled_percent: float | None, dataset_dir: str) -> str:
    """Find a case list by name or path.

    Raises:
        CaseListError: there is none; the message names those there are.
    """
    if str(case_list).endswith(".json"):
        names, folders = [given_path(case_list, "case_list")], ["", dataset_dir, case_lists_dir]
    else:
        percent = [] if labeled_percent is None else [f"{case_list}_{float(labeled_percent):g}p.json"]
        names, folders = [*percent, f"{case_list}.json"], [case_lists_dir]
    candidates = [os.path.join(folder, name) for folder in folders if folder is not None for name in names]
    found = next(filter(os.path.isfile, candidates), None)
    if found is None:
        there = sorted(os.listdir(case_lists_dir)) if case_lists_dir and os.path.isdir(case_lists_dir) else []
        problem = (
            f"there is none; looked for {candidates}. Lists in '{case_lists_dir}': "
            f"{', '.join(name for name in there if name.endswith('.json')) or 'none'}. Set case_list and labeled_percent "
            f"(now {labeled_percent}) to one of them, or case_list to the path of a JSON with {', '.join(LISTS)}"
        )
        raise CaseListError(str(case_list), [problem])
    return os.path.abspath(found)


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


def _parse_entries(
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


def check_layouts(layouts: Sequence[Mapping[str, str]]) -> None:
    """Check that each layout has an ``{id}`` in ``"image"`` and in ``"label"``.

    Raises:
        ValueError: one has not, or there is no layout.
    """
    if not layouts or any("{id}" not in layout.get(key, "") for layout in layouts for key in ("image", "label")):
        raise ValueError(
            f"layouts is {layouts}; expected one or more of 'image' and 'label', paths containing '{{id}}'"
        )


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


def _file_problems(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if "image" in entry.missing:
            looked = ", ".join(f"'{item['image']}'" for item in entry.candidates)
            problem = f"{entry.list_name}: case '{entry.name}' has no file; looked for {looked}"
            yield f"{problem}; copy it there, or take the case out of the list"
        elif entry.missing:
            yield f"{entry.list_name}: '{entry.item['image']}' has no label; expected it at '{entry.item['label']}'"


def _membership_problems(entries: Sequence[Entry], allow_overlap: Sequence[str]) -> Iterator[str]:
    """Find cases in two lists, or twice in one, under whatever names."""
    files: dict[str, str] = {}  # by name: an id is one case, even where two layouts have a file of it
    by_file: dict[str, list[Entry]] = {}
    for entry in entries:
        file = files.setdefault(entry.name, os.path.realpath(entry.item["image"]))
        by_file.setdefault(file, []).append(entry)
    for group in by_file.values():
        case = " = ".join(f"'{name}'" for name in dict.fromkeys(entry.name for entry in group))
        times = Counter(entry.list_name for entry in group)
        if twice := [name for name in LISTS if times[name] > 1]:
            yield f"case {case} stands {max(times.values())} times in {' and in '.join(twice)}"
        if len(times) > 1 and not set(times) <= set(allow_overlap):
            yield f"case {case} is in {' and in '.join(times)}; a case belongs to one list"


def _modality_problems(
    entries: Sequence[Entry], accepted: object, other_modalities: Mapping[str, str]
) -> Iterator[str]:
    """Find cases of a modality that their list does not name; one problem a modality."""
    if not isinstance(accepted, list) or not all(isinstance(modality, str) for modality in accepted):
        yield f'"{MODALITIES}" is {reprlib.repr(accepted)}; expected a list such as ["CT"]'
        return
    strangers: dict[str, list[str]] = {}
    for entry in entries:
        image = entry.item["image"]
        if other_modalities or os.path.isdir(image):  # the modality of other files is unknown
            strangers.setdefault(modality_of(image, other_modalities), []).append(f"'{entry.name}' ({entry.list_name})")
    for modality, named in strangers.items():
        if modality not in accepted:
            yield (
                f"{len(named)} case(s) are {modality} in a list of {' and '.join(accepted)}: {', '.join(named)}; take "
                f'them out; if they are meant, add "{MODALITIES}": {json.dumps([*accepted, modality])} to the list'
            )
