# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Functions as commands."""

import logging
from collections.abc import Callable

import fire

from .errors import exit_on_user_errors


def run_command(functions: Callable[..., object] | dict[str, Callable[..., object]]) -> None:
    """Call a function, or one of several, with the arguments of the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_user_errors():
        fire.Fire(functions)
