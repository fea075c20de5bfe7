# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The input checks of a training as a command, over all four lists, with a table of what the cases hold.

    monai-scdl check --config_file bundles/scdl_synapse/configs/train.yaml --dataset_dir /data/btcv

The exit status is 0 where a training may start (there may be warnings), 1 where there is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..data.case_list import LISTS, CaseListError
from ..data.check_rules import Problem
from ..data.input_check import count
from ..data.paths import given_path
from .bundle_config import evaluate, read_bundle_config
from .check_summary import summary_lines, write_table


def check(
    config_file: str | Sequence[str],
    table: str | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    **overrides: object,
) -> None:
    """Read every file of a bundle's case list; print what the lists hold and everything that is wrong.

    Args:
        config_file: the bundle's ``train.yaml``, or several configs as MONAI's runner takes them. Its section
            ``load_cases`` says which files there are, its section ``check`` what is expected of them.
        table: CSV file to write, with a row for each case.
        num_workers: files read at a time; default one for each CPU core, at most 8.
        progress: whether to show a progress bar.
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
    # the lists are those of the case list, with the test cases; the training's would be loaded and cached
    parser.update({f"check#{name}": () for name in LISTS} | {"check#_mode_": "callable"})
    input_check = evaluate(parser, "check")(**cases, num_workers=num_workers, progress=progress)
    facts, found = input_check.survey()
    problems += found

    organs = input_check.context.organs
    print("\n".join(summary_lines(facts, problems, organs)))
    if table is not None:
        write_table(given_path(table, "table"), facts, problems, organs)
        print(f"\na row for each case: {table}")
    print(f"\n{count(problems)}", *problems, sep="\n")
    sys.exit(any(problem.is_error for problem in problems))
