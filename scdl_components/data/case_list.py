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
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scdl_components.data.modality import CT, MODALITIES, modality_problems
from scdl_components.data.paths import given_path
from scdl_components.distributed import on_rank_zero
from scdl_components.errors import InputError, MissingFileError

LISTS = ("labeled", "unlabeled", "validation", "test")
LISTS_WITH_LABELS = ("labeled", "validation")  # a test case given by its image alone can still be segmented
IMAGE_SUFFIXES = (".nii", ".nii.gz")
MAX_BYTES = 64 * 2**20  # a list of a million cases is smaller


class CaseListError(InputError):
    """A case list that must not be used; the message holds one line for each of its problems.

    Attributes:
        path: of the list; empty where it could not be read.
        problems: one line each.
        cases: the files of the entries that have no problem of their own, as :func:`load_cases` returns them.
    """

    def __init__(
        self,
        message: str,
        path: str = "",
        problems: Sequence[str] = (),
        cases: Mapping[str, list[dict[str, str]]] | None = None,
    ) -> None:
        super().__init__(message)
        self.path, self.problems, self.cases = path, list(dict.fromkeys(problems)), dict(cases or {})


class NoDataError(MissingFileError):
    """None of a list's cases is in the dataset's folder."""


@dataclass(frozen=True)
class Entry:
    """One entry of a case list: an ``id``, or an ``image`` with or without a ``label`` (absolute paths)."""

    list_name: str
    id: str = ""
    image: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        return self.id or self.image


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

    Membership is checked on the ids alone, so a contradictory list is refused even where none of its files exists.
    An empty unlabeled list is allowed here: only training on two streams needs one.

    Args:
        dataset_dir: the dataset's folder.
        case_list: the name of a list in ``case_lists_dir``, or the path of a ``.json`` (absolute, or relative to the
            working directory or to ``dataset_dir``).
        layouts: where the files of an id may be, in order of preference; each maps ``"image"`` and ``"label"`` to a
            path relative to ``dataset_dir`` that contains ``{id}``. The first one whose files exist is taken, case by
            case.
        case_lists_dir: folder of the named lists.
        labeled_percent: the name is looked up as ``<name>_<labeled_percent>p.json`` first, then as ``<name>.json``.
        allow_overlap: names of lists that may share cases among one another.
        other_modalities: of each modality of the dataset that is not CT, a regular expression that finds its images by
            their file names. They are refused in a list whose ``"modalities"`` do not name that modality.
        where_to_get: where the data is to be had, for the message when there is none.
        phantom_hint: how to run without the data, for the same message.

    Returns:
        For each of ``labeled``, ``unlabeled``, ``validation``, ``test`` its items, with absolute paths:
        ``{"image": ..., "label": ...}``; unlabeled items, and test cases listed by image alone, have no ``"label"``.

    Raises:
        CaseListError: the list cannot be found or read, a case is in two lists or twice in one, is of another modality
            than the list, a file or a label is missing, or no case is labeled; all problems in one message.
        NoDataError: the list is sound but none of its cases is under ``dataset_dir``.
        ValueError: a layout without ``{id}``, or an unknown list in ``allow_overlap``.
    """
    check_layouts(layouts)
    check_allow_overlap(allow_overlap)
    dataset_dir = os.path.abspath(given_path(dataset_dir, "dataset_dir"))
    path = find_case_list(case_list, case_lists_dir, labeled_percent, dataset_dir)
    content = read_json(path)
    entries, problems = parse_entries(content, dataset_dir)
    problems += membership_problems(((entry.name, _key(entry), entry.list_name) for entry in entries), allow_overlap)

    found = [(entry, _find_files(entry, dataset_dir, layouts)) for entry in entries]
    images = [(item or _candidates(entry, dataset_dir, layouts)[0])["image"] for entry, (item, _) in found]
    problems += modality_problems(
        (
            (entry.name, entry.list_name, image)
            for entry, image in zip(entries, images, strict=True)
            if other_modalities or os.path.isdir(image)  # of other files nothing is known
        ),
        content.get(MODALITIES, [CT]),
        other_modalities or {},
        _lists_with(other_modalities or {}, case_lists_dir),
    )
    if entries and not any(item for _, (item, _) in found):
        if not problems:
            raise NoDataError(_no_data_message(path, dataset_dir, entries, layouts, where_to_get, phantom_hint))
        problems.append(f"besides, none of its {len(entries)} cases is under '{dataset_dir}'")
    else:
        problems += [problem for _, (_, problem) in found if problem]
        problems += _same_file_problems(found, allow_overlap)
    sound = [(entry.list_name, item) for entry, (item, problem) in found if item and not problem]
    cases = {name: [item for list_name, item in sound if list_name == name] for name in LISTS}
    if problems:
        raise CaseListError(_problems_message(path, problems), path, problems, cases)
    return cases


def find_case_list(case_list: str, case_lists_dir: str | None, labeled_percent: float | None, dataset_dir: str) -> str:
    """Path of a case list given by name or by path; arguments as in :func:`load_cases`.

    Raises:
        CaseListError: there is no such list; the message names those there are.
    """
    if str(case_list).endswith(".json"):
        folders = ["", dataset_dir] + ([case_lists_dir] if case_lists_dir else [])
        candidates = [os.path.join(folder, given_path(case_list, "case_list")) for folder in folders]
    else:
        names = [f"{case_list}.json"]
        if labeled_percent is not None:
            names.insert(0, f"{case_list}_{float(labeled_percent):g}p.json")
        candidates = [os.path.join(case_lists_dir, name) for name in names] if case_lists_dir else []
    for candidate in candidates:
        if os.path.isfile(candidate):
            return os.path.abspath(candidate)
    named = sorted(os.listdir(case_lists_dir)) if case_lists_dir and os.path.isdir(case_lists_dir) else []
    available = ", ".join(name for name in named if name.endswith(".json")) or "none"
    looked = ", ".join(f"'{candidate}'" for candidate in candidates) or "nowhere: case_lists_dir is not set"
    raise CaseListError(
        f"no case list '{case_list}' (labeled_percent: {labeled_percent}); looked for {looked}. "
        f"Lists in '{case_lists_dir}': {available}. Set case_list (and labeled_percent) to one of them, or case_list "
        f"to the path of a JSON with the lists {', '.join(LISTS)}."
    )


def read_json(path: str) -> dict:
    """Read a JSON object; whatever is wrong with the file becomes one message naming it and the position.

    Raises:
        CaseListError: the file is unreadable, too large, not JSON, not an object, or has a key twice.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise ValueError(f"the key {reprlib.repr(twice)} stands twice in one object; keep one of them")
        return dict(pairs)

    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"{os.path.getsize(path)} bytes; a case list has at most {MAX_BYTES}")
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise CaseListError(
            f"case list '{path}' is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            "is the file cut off, or a comma or quote missing there?"
        ) from error
    except UnicodeDecodeError as error:
        raise CaseListError(f"case list '{path}' is not UTF-8 text: byte {error.start}; save it as UTF-8.") from error
    except RecursionError as error:
        raise CaseListError(f"case list '{path}' is nested too deeply to be a case list.") from error
    except (OSError, ValueError) as error:
        raise CaseListError(f"case list '{path}' cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise CaseListError(
            f"case list '{path}' holds a {type(content).__name__}; expected an object with {', '.join(LISTS)}."
        )
    return content


def parse_entries(content: Mapping[str, object], dataset_dir: str) -> tuple[list[Entry], list[str]]:
    """Split a case list's JSON into its entries and the problems found on the way.

    Keys that hold no list (name, description, ...) are ignored; an unknown key that does may be a misspelled list and
    is a problem.
    """
    entries, problems = [], []
    for key, value in content.items():
        if key not in (*LISTS, MODALITIES) and isinstance(value, list):
            problems.append(f"unknown list {key!r}; the lists are called {', '.join(LISTS)}")
        elif key in LISTS and not isinstance(value, list):
            problems.append(f"'{key}' is a {type(value).__name__}; expected a list of ids or of image/label paths")
    for name in LISTS:
        values = content.get(name, [])
        for index, value in enumerate(values if isinstance(values, list) else []):
            try:
                entries.append(_parse_entry(name, value, dataset_dir))
            except ValueError as error:
                problems.append(f"{name}[{index}] {error}")
    if not content.get("labeled"):
        problems.append("'labeled' is missing or empty; training needs at least one labeled case")
    return entries, problems


def membership_problems(members: Iterable[tuple[str, str, str]], allow_overlap: Sequence[str] = ()) -> list[str]:
    """Cases in two lists, or twice in one.

    Args:
        members: of each entry the name to show, the key by which cases are told apart, and its list.
        allow_overlap: names of lists that may share cases among one another.
    """
    lists_of: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for name, key, list_name in members:
        lists_of.setdefault(key, []).append(list_name)
        names.setdefault(key, []).append(name)
    problems = []
    for key, lists in lists_of.items():
        case = " = ".join(f"'{name}'" for name in dict.fromkeys(names[key]))
        twice = [name for name in LISTS if lists.count(name) > 1]
        if twice:
            problems.append(f"case {case} stands {max(map(lists.count, twice))} times in {' and in '.join(twice)}")
        distinct = [name for name in LISTS if name in lists]
        if len(distinct) > 1 and not set(distinct) <= set(allow_overlap):
            problems.append(f"case {case} is in {' and in '.join(distinct)}; a case belongs to one list")
    return problems


def check_layouts(layouts: Sequence[Mapping[str, str]]) -> None:
    """Layouts as in :func:`load_cases`.

    Raises:
        ValueError: there is none, or one lacks ``"image"`` or ``"label"`` with an ``{id}`` in it.
    """
    if not layouts:
        raise ValueError("layouts is empty; expected at least one {'image': path, 'label': path} with '{id}' in both.")
    for layout in layouts:
        if any("{id}" not in layout.get(key, "") for key in ("image", "label")):
            raise ValueError(f"layout {dict(layout)}: expected 'image' and 'label', each a path containing '{{id}}'.")


def check_allow_overlap(allow_overlap: Sequence[str]) -> None:
    """Raises ValueError for names of lists that there are not."""
    unknown = [name for name in allow_overlap if name not in LISTS]
    if unknown:
        raise ValueError(f"allow_overlap names {unknown}; the lists are {list(LISTS)}.")


def _parse_entry(list_name: str, value: object, dataset_dir: str) -> Entry:
    if isinstance(value, str) and not value.lower().endswith(IMAGE_SUFFIXES):
        # an id becomes part of a path: it must not lead out of the layout's folder
        if not value.strip() or any(character in value for character in "/\\\0"):
            raise ValueError(
                f"is {reprlib.repr(value)}; expected an id, or a path that ends in {' or '.join(IMAGE_SUFFIXES)}"
            )
        value.encode()  # a lone surrogate, which JSON can spell, is no file name
        return Entry(list_name, id=value)
    files = {"image": value} if isinstance(value, str) else value
    if not isinstance(files, dict):
        raise ValueError(f'is {reprlib.repr(value)}; expected a string (an id as "0001", or a path) or an object')
    paths = {}
    for key in ("image", "label"):
        path = files.get(key) or ""
        if not isinstance(path, str) or "\0" in path:
            raise ValueError(f"has {reprlib.repr(path)} as '{key}'; expected one path")
        path.encode()
        paths[key] = os.path.normpath(os.path.join(dataset_dir, os.path.expanduser(path))) if path else ""
    if not paths["image"]:
        raise ValueError('has no \'image\'; expected an object {"image": path, "label": path}')
    if list_name in LISTS_WITH_LABELS and not paths["label"]:
        raise ValueError(f'\'{paths["image"]}\' has no label; expected an object {{"image": path, "label": path}}')
    return Entry(list_name, **paths)


def _key(entry: Entry) -> str:
    return f"id {entry.id}" if entry.id else f"file {os.path.realpath(entry.image)}"


def _candidates(entry: Entry, dataset_dir: str, layouts: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The items that the entry may stand for, in order of preference."""
    keys = ("image",) if entry.list_name == "unlabeled" or (entry.image and not entry.label) else ("image", "label")
    if entry.image:
        return [{key: getattr(entry, key) for key in keys}]
    relative = [{key: layout[key].replace("{id}", entry.id) for key in keys} for layout in layouts]
    return [{key: os.path.normpath(os.path.join(dataset_dir, path)) for key, path in item.items()} for item in relative]


def _find_files(
    entry: Entry, dataset_dir: str, layouts: Sequence[Mapping[str, str]]
) -> tuple[dict[str, str] | None, str]:
    """The item of the first complete layout and what is wrong with it; no item where no image exists."""
    candidates = _candidates(entry, dataset_dir, layouts)
    with_image = [item for item in candidates if os.path.exists(item["image"])]
    if not with_image:
        looked = ", ".join(f"'{item['image']}'" for item in candidates)
        problem = f"{entry.list_name}: case '{entry.name}' has no file; looked for {looked}"
        return None, f"{problem}; copy it there, or take the case out of the list"
    for item in with_image:
        if all(os.path.exists(path) for path in item.values()):
            return item, ""
    item = with_image[0]
    return item, f"{entry.list_name}: '{item['image']}' has no label; expected it at '{item['label']}'"


def _same_file_problems(
    found: Iterable[tuple[Entry, tuple[dict[str, str] | None, str]]], allow_overlap: Sequence[str]
) -> list[str]:
    """Cases that differ in name and are one file, say an id in one list and its path in another."""
    by_file: dict[str, list[Entry]] = {}
    for entry, (item, _) in found:
        if item:
            by_file.setdefault(os.path.realpath(item["image"]), []).append(entry)
    aliases = {file: entries for file, entries in by_file.items() if len({_key(entry) for entry in entries}) > 1}
    return membership_problems(
        ((entry.name, file, entry.list_name) for file, entries in aliases.items() for entry in entries), allow_overlap
    )


def _lists_with(modalities: Iterable[str], case_lists_dir: str | None) -> dict[str, list[str]]:
    """Of each modality the names, as ``case_list`` takes them, of the lists in a folder that hold it."""
    listed = os.listdir(case_lists_dir) if case_lists_dir and os.path.isdir(case_lists_dir) else []
    names = [name for name in listed if name.endswith(".json")]
    held = {name: read_json(os.path.join(case_lists_dir, name)).get(MODALITIES, [CT]) for name in names}
    named = {name: re.sub(r"(_[\d.]+p)?\.json$", "", name) for name in names}
    return {modality: sorted({named[name] for name in names if modality in held[name]}) for modality in modalities}


def _problems_message(path: str, problems: Sequence[str]) -> str:
    lines = "".join(f"\n- {problem}" for problem in dict.fromkeys(problems))
    return f"case list '{path}' cannot be used, {len(problems)} problem(s); correct the list or the files:{lines}"


def _no_data_message(
    path: str,
    dataset_dir: str,
    entries: Sequence[Entry],
    layouts: Sequence[Mapping[str, str]],
    where_to_get: str,
    phantom_hint: str,
) -> str:
    first = next((entry for entry in entries if entry.id), entries[0])
    looked = "".join(f"\n- {' with '.join(item.values())}" for item in _candidates(first, dataset_dir, layouts))
    folder = "the folder" if os.path.isdir(dataset_dir) else "no such folder:"
    message = (
        f"no data: none of the {len(entries)} cases of '{path}' was found; {folder} '{dataset_dir}' (dataset_dir). "
        f"Looked for, for example for '{first.name}':{looked}"
    )
    hints = (("Where to get the data", where_to_get), ("Without the data", phantom_hint))
    return message + "".join(f"\n{title}: {text}" for title, text in hints if text)
