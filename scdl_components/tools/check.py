# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The input checks of a training as a command, over all four lists, with a table of what the cases hold.

    monai-scdl check --config_file bundles/scdl_synapse/configs/train.yaml --dataset_dir /data/btcv

The exit status is 0 where a training may start (there may be warnings), 1 where there is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from scdl_components.data.case_list import LISTS, CaseListError
from scdl_components.data.check_rules import Problem
from scdl_components.data.paths import given_path
from scdl_components.errors import InputError
from scdl_components.tools.bundle_config import evaluate, read_bundle_config
from scdl_components.tools.check_summary import summary_lines, write_table


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
    missing = [key for key in ("load_cases", "check") if key not in parser]
    if missing:
        raise InputError(f"{config_file} has no {' and no '.join(missing)}; give a bundle's configs/train.yaml")
    # the lists come from the case list, test cases too; those of the training would be loaded and cached
    parser["check"] = {key: value for key, value in parser["check"].items() if key not in LISTS}
    parser["check"]["_mode_"] = "callable"
    cases, problems = _load_cases(evaluate(parser, "load_cases"))
    make_check = evaluate(parser, "check")
    input_check = make_check(**cases, num_workers=num_workers, progress=progress)
    facts, found = input_check.survey()
    problems += found

    organs = input_check.context.organs
    print("\n".join(summary_lines(facts, problems, organs)))
    if table is not None:
        write_table(given_path(table, "table"), facts, problems, organs)
        print(f"\na row for each case: {table}")
    errors = [problem for problem in problems if problem.is_error]
    print(f"\n{len(errors)} error(s), {len(problems) - len(errors)} warning(s)")
    for problem in [*errors, *(problem for problem in problems if not problem.is_error)]:
        print(problem)
    sys.exit(1 if errors else 0)


def _load_cases(load_cases: partial) -> tuple[dict[str, list[dict[str, str]]], list[Problem]]:
    """The cases whose files are there, and what is wrong with the list itself."""
    try:
        return load_cases(), []
    except CaseListError as error:
        if not any(error.cases.values()):
            raise
        return error.cases, [Problem(error.path, problem) for problem in error.problems]
