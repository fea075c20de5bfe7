# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Case lists: from a JSON of ids or paths to the files of each list.

A case list is a JSON object in MONAI's decathlon manner with the lists ``labeled``, ``unlabeled``, ``validation`` and
``test``. An entry is an id (``"0023"``, whose files are found through the dataset's layouts), an object
``{"image": path, "label": path}``, or the path of an image alone. Relative paths start at the dataset's folder. A list
is of CTs unless its ``"modalities"`` says what else it holds.
"""

import json
import os
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..distributed import on_rank_zero
from ..errors import MissingFileError, SettingError
from .case_entries import LISTS, MODALITIES, CaseListError, Entry, check_layouts, parse_entries, read_json
from .paths import given_path
from .reader import CT, modality_of


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
    needed: str | None = None,
) -> dict[str, list[dict[str, str]]]:
    """Read a case list, check it, and find the files of its cases.

    All problems go into one message. A list that contradicts itself is refused even where none of its files is there.

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
        where_to_get: source of the data, for the message when there are none.
        phantom_hint: how to run without the data, for the same message.
        needed: the one list whose files have to be there, for evaluation; None: all of them, and a labeled case.

    Returns:
        For each of ``labeled``, ``unlabeled``, ``validation``, ``test`` its items, with absolute paths:
        ``{"image": ..., "label": ...}``; unlabeled items, and test cases listed by image alone, have no ``"label"``.

    Raises:
        CaseListError: the list cannot be used; the message has all its problems.
        MissingFileError: the list is sound but none of its cases is under ``dataset_dir``.
        SettingError: a layout without ``{id}``, or an unknown list in ``allow_overlap``.
    """
    check_layouts(layouts)
    if unknown := [name for name in allow_overlap if name not in LISTS]:
        raise SettingError(f"allow_overlap names {unknown}; the lists are {list(LISTS)}")
    dataset_dir = os.path.abspath(given_path(dataset_dir, "dataset_dir"))
    path = find_case_list(case_list, case_lists_dir, labeled_percent, dataset_dir)
    content = read_json(path)
    entries, problems = parse_entries(content, dataset_dir, layouts)
    if needed is None and not content.get("labeled"):
        problems.append("'labeled' is missing or empty; training needs at least one labeled case")
    problems += _membership_problems(entries, allow_overlap)
    wanted = [entry for entry in entries if needed in (None, entry.list_name)]
    problems += _modality_problems(wanted, content.get(MODALITIES, [CT]), other_modalities or {})
    if not wanted or any("image" not in entry.missing for entry in wanted):
        problems += _file_problems(wanted)
    elif problems:
        problems.append(f"besides, none of its {len(wanted)} cases is under '{dataset_dir}'")
    else:
        looked = "".join(f"\n- {' with '.join(item.values())}" for item in wanted[0].candidates)
        folder = "the folder" if os.path.isdir(dataset_dir) else "no such folder:"
        hints = (("Where to get the data", where_to_get), ("Without the data", phantom_hint))
        raise MissingFileError(
            f"no data: none of the {len(wanted)} cases of '{path}' was found; {folder} '{dataset_dir}' "
            f"(dataset_dir). Looked for, for example for '{wanted[0].name}':{looked}"
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
        CaseListError: it cannot be read, an entry gives no image, or no label where the list needs one, or a case stands
            twice.
    """
    lists = {list_name: read_json(path).get(list_name, [])}
    entries, problems = parse_entries(lists, os.path.dirname(os.path.abspath(path)), ())
    problems += [f"'{entry.name}' is an id; expected image and label" for entry in entries if not entry.candidates]
    problems += _membership_problems([entry for entry in entries if entry.candidates], ())
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


def _file_problems(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if "image" in entry.missing:
            looked = ", ".join(f"'{item['image']}'" for item in entry.candidates)
            problem = f"{entry.list_name}: case '{entry.name}' has no file; looked for {looked}"
            yield f"{problem}; copy it there, or take the case out of the list"
        elif entry.missing:
            yield f"{entry.list_name}: '{entry.item['image']}' has no label; expected it at '{entry.item['label']}'"


def _membership_problems(entries: Sequence[Entry], allow_overlap: Sequence[str]) -> Iterator[str]:
    """Find cases in two lists, or twice in one, under any name."""
    files: dict[str, str] = {}  # by name: an id is one case, even with a file in two layouts
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
