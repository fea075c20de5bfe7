# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The input checks of a training as a command, over all four lists.

    monai-scdl check --config_file bundles/scdl_synapse/configs/train.yaml --dataset_dir /data/btcv

The exit status is 0 where a training may start (there may be warnings), 1 where there is an error.
"""

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..data.case_entries import LISTS, CaseListError
from ..data.check_rules import CaseFacts, Problem
from ..data.facts import VolumeFacts
from ..data.input_check import count
from ..report.page import markdown_table
from .bundle_config import evaluate, read_bundle_config


def check(config_file: str | Sequence[str], **overrides: object) -> None:
    """Print what a bundle's cases hold, and what is wrong with their files.

    Args:
        config_file: the bundle's ``train.yaml``, or several configs as MONAI's runner takes them. Its section
            ``load_cases`` says which files there are, its section ``train#check`` what is expected of them.
        overrides: keys of the config, as on the command line of MONAI's runner, e.g. ``dataset_dir``.

    Raises:
        UserError: the config or the case list cannot be read, or there are no data.
        SystemExit: status 1, at least one error.
    """
    parser = read_bundle_config(config_file, overrides)
    load_cases, problems = evaluate(parser, "load_cases"), []
    try:
        cases = load_cases()
    except CaseListError as error:
        if not any(error.cases.values()):
            raise
        cases, problems = error.cases, [Problem(error.path, problem) for problem in error.problems]
    # the case list's own lists, test cases included: the training's datasets would be loaded and cached
    parser.update({f"train#check#{name}": () for name in LISTS} | {"train#check#_mode_": "callable"})
    input_check = evaluate(parser, "train#check")(**cases)
    facts, found = input_check.survey()
    problems += found

    print(summary(facts, problems, input_check.organs))
    print(f"\n{count(problems)}", *problems, sep="\n")
    sys.exit(any(problem.is_error for problem in problems))


def summary(cases: Sequence[CaseFacts], problems: Sequence[Problem], organs: Sequence[str]) -> str:
    """Count the images, and of each list each organ's cases and share of all voxels.

    Labels with an error do not count: their figures would hide those of the others.
    """
    faulty = {problem.path for problem in problems if problem.is_error}
    columns = {"cases, share of voxels": ["background", *organs]}
    for name in LISTS:
        labels = [case.label for case in cases if case.list_name == name and case.label]
        sound = [label for label in labels if label.path not in faulty]
        if sound:
            of_values = [_frequency(sound, value) for value in range(len(organs) + 1)]
            columns[f"{name} ({len(sound)})"] = of_values
    counts = Counter(case.list_name for case in cases)
    images = ", ".join(f"{counts[name]} {name}" for name in LISTS)
    return f"images: {images}\n\n{markdown_table(list(columns), list(zip(*columns.values(), strict=True)))}"


def _frequency(labels: Sequence[VolumeFacts], value: int) -> str:
    """Format ``cases that show it, its share of all voxels``."""
    voxels = [label.counts[label.values == value].sum() for label in labels]
    return f"{np.count_nonzero(voxels)}, {sum(voxels) / max(sum(label.counts.sum() for label in labels), 1):.4%}"
