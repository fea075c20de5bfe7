# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""New case lists, drawn from a seed so that the labeled cases show every organ.

    monai-scdl make-list --config_file bundles/scdl_amos/configs/train.yaml \\
        --dataset_dir /data/amos22 --output my_list.json --labeled 10 --validation 24 --test 40 --seed 0

The same cases and the same seed give the same list on every machine: what is drawn depends on ids and labels alone.
"""

import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from monai.utils import ensure_tuple

from .. import __version__
from ..atomic import check_writable, whole_file
from ..data.case_entries import LISTS, MODALITIES, check_layouts
from ..data.check_rules import label_problems, volume_problems
from ..data.input_check import read_files
from ..data.paths import given_path
from ..data.reader import CT, modality_of
from ..errors import InputError
from .bundle_config import evaluate, read_bundle_config

logger = logging.getLogger(__name__)
WAY_OUT = "Make room or give another --output"
NUM_DRAWS = 1000  # of which the one is taken that shows most organs


def make_list(
    config_file: str | Sequence[str],
    output: str,
    labeled: int,
    validation: int = 0,
    test: int = 0,
    seed: int = 0,
    modalities: Sequence[str] = (CT,),
    **overrides: object,
) -> str:
    """Draw a case list from a data set and write it as JSON.

    Cases without a label can only be unlabeled; cases of other modalities are left out unless asked for.

    Args:
        config_file: the bundle's ``train.yaml``, or several configs as MONAI's runner takes them; they say where the
            cases are (``dataset_dir``, ``load_cases``), which organs there are and which files are no CT.
        output: JSON file to write; it must not be there.
        labeled: number of labeled cases.
        validation: number of validation cases.
        test: number of test cases.
        seed: of the draw.
        modalities: what the list may hold.
        overrides: keys of the config, as on the command line of MONAI's runner, e.g. ``dataset_dir``.

    Returns:
        ``output``.

    Raises:
        InputError: there are no cases or too few, a label cannot be used, ``labeled`` cases cannot show all organs, or
            ``output`` is there already.
        StorageError: ``output`` cannot be written.
    """
    output = given_path(output, "output")
    if os.path.exists(output):
        raise InputError(f"'{output}' is there already and is left alone; choose another output, or delete it first.")
    check_writable([Path(output).parent], WAY_OUT)
    parser = read_bundle_config(config_file, overrides)
    dataset_dir = given_path(evaluate(parser, "dataset_dir"), "dataset_dir")
    layouts, other_modalities = (evaluate(parser, f"load_cases#{key}") for key in ("layouts", "other_modalities"))
    organs = evaluate(parser, "class_names")[1:]
    modalities = list(ensure_tuple(modalities))
    found = find_cases(dataset_dir, layouts)
    cases = {id_: item for id_, item in found.items() if modality_of(item["image"], other_modalities) in modalities}
    if len(cases) < len(found):
        logger.info("left out: %d of %d cases, which are not %s", len(found) - len(cases), len(found), modalities)
    if not cases:
        looked = "".join(f"\n- {os.path.join(dataset_dir, layout['image'])}" for layout in layouts)
        raise InputError(
            f"no cases of {' or '.join(modalities)}; set dataset_dir or load_cases#layouts; looked for:{looked}"
            f"\nWhere to get the data: {evaluate(parser, 'load_cases#where_to_get')}"
        )

    organs_of = read_organs(cases, organs)
    without_label = [case for case in cases if case not in organs_of]
    lists = draw_lists(organs_of, without_label, labeled, validation, test, seed)

    settings = {"seed": seed, "labeled": labeled, "validation": validation, "test": test}
    content = {
        "name": Path(output).stem,
        "description": f"drawn from {len(cases)} cases, {len(organs_of)} of them with a label",
        MODALITIES: modalities,
        **lists,
        "made_with": {"command": "monai-scdl make-list", "version": __version__, **settings},
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    with whole_file(output, WAY_OUT) as file:
        file.write(f"{{\n{lines}\n}}\n".encode())
    for name, ids in lists.items():
        missing = sorted(set(organs) - _shown(organs_of, ids)) if ids and name != "unlabeled" else ()
        logger.info("%s: %d%s", name, len(ids), f", none shows {', '.join(missing)}" if missing else "")
    logger.info("wrote %s", output)
    return output


def find_cases(dataset_dir: str, layouts: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Find the ids of all cases in the layouts, sorted, with image and label.

    Of a case in several layouts the first one with a label is taken, as :func:`load_cases` does.

    Raises:
        ValueError: a layout without ``{id}``.
    """
    check_layouts(layouts)
    root = os.path.abspath(dataset_dir)
    found = []
    for layout in layouts:
        image = os.path.normpath(layout["image"])
        # the id is what the first {id} stands for; any further one must stand for the same
        pattern = re.escape(image).replace(r"\{id\}", r"([^/\\]+)", 1).replace(r"\{id\}", r"\1")
        for file in glob.glob(glob.escape(image).replace("{id}", "*"), root_dir=root):
            if match := re.fullmatch(pattern, file):
                label = os.path.join(root, layout["label"].replace("{id}", match[1]))
                item = {"image": os.path.join(root, file)} | ({"label": label} if os.path.exists(label) else {})
                found.append((match[1], item))
    cases: dict[str, dict[str, str]] = {}
    for case, item in sorted(found, key=lambda pair: (pair[0], "label" not in pair[1])):
        cases.setdefault(case, item)
    return cases


def read_organs(cases: Mapping[str, Mapping[str, str]], organs: Sequence[str]) -> dict[str, frozenset[str]]:
    """Read which organs the label of each case shows; cases without any are left out.

    Raises:
        InputError: a label is damaged, has values outside the organ table, or is that of another case; one message for
            all.
    """
    labels = {case: item["label"] for case, item in cases.items() if "label" in item}
    facts = read_files(list(labels.values()))
    problems = [
        problem
        for volume in facts.values()
        for problem in (*volume_problems(volume), *label_problems(volume, organs, "test"))
        if problem.is_error
    ]
    if problems:
        raise InputError("labels that cannot be used:\n" + "\n".join(map(str, problems)))
    organs_of: dict[str, frozenset[str]] = {}
    first: dict[str, str] = {}
    twice = []
    for case, label in labels.items():
        if shown := frozenset(organ for organ, count in facts[label].organ_voxels(organs).items() if count):
            organs_of[case] = shown
            if (other := first.setdefault(facts[label].fingerprint, label)) != label:
                twice.append(f"\n- '{label}' has the voxels of '{other}'")
        else:
            logger.warning("%s is empty: the case can only be unlabeled", label)
    if twice:
        raise InputError(
            f"one scan under two names could be trained on and tested with; leave one of each in the folder:{''.join(twice)}"
        )
    return organs_of


def draw_lists(
    organs_of: Mapping[str, frozenset[str]],
    without_label: Collection[str],
    labeled: int,
    validation: int,
    test: int,
    seed: int,
) -> dict[str, list[str]]:
    """Divide cases into the four lists, each by the draw that shows most organs.

    Args:
        organs_of: organs that the label of each case shows, for the cases that have one.
        without_label: the other cases.
        labeled: as in :func:`make_list`, like the following.

    Returns:
        Sorted ids of each list.

    Raises:
        InputError: the numbers do not go together, or no draw of ``labeled`` cases shows all organs.
    """
    counts = {"labeled": labeled, "test": test, "validation": validation}
    for name, count in counts.items():
        least = int(name == "labeled")
        if not isinstance(count, int) or count < least:
            raise InputError(f"{name} is {count!r}; expected a number of cases, {least} or more")
    if sum(counts.values()) > len(organs_of):
        wanted = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{wanted}: {sum(counts.values())} cases with a label are needed, there are {len(organs_of)}")
    lists, left = {}, dict(organs_of)
    for name, count in counts.items():
        draws = (_draw(left, count, f"{seed}/{name}/{number}") for number in range(NUM_DRAWS))
        lists[name] = max(draws, key=lambda cases: len(_shown(organs_of, cases)))
        missing = _shown(left, left) - _shown(left, lists[name])
        if name == "labeled" and missing:
            raise InputError(
                f"{count} labeled case(s) are too few to show every organ: of {NUM_DRAWS} draws the best one lacks "
                f"{', '.join(sorted(missing))}; give a larger --labeled"
            )
        left = {case: organs for case, organs in left.items() if case not in lists[name]}
    lists["unlabeled"] = sorted([*left, *without_label])
    return {name: lists[name] for name in LISTS}


def _draw(cases: Collection[str], count: int, seed: str) -> list[str]:
    """Draw so many cases, the same for a seed on every machine; sorted."""
    return sorted(sorted(cases, key=lambda case: hashlib.blake2b(f"{seed}/{case}".encode()).digest())[:count])


def _shown(organs_of: Mapping[str, frozenset[str]], cases: Collection[str]) -> frozenset[str]:
    return frozenset().union(*(organs_of.get(case, ()) for case in cases))
