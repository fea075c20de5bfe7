# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's config for commands of our own, read as MONAI's runner reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.bundle import ConfigParser
from monai.utils import ensure_tuple

from scdl_components.bundle import check_keys
from scdl_components.errors import InputError, UserError, causes


def read_bundle_config(config_file: str | Sequence[str], overrides: Mapping[str, object]) -> ConfigParser:
    """Read a bundle's config and metadata; nothing is evaluated yet.

    Args:
        config_file: the bundle's ``train.yaml``, or several configs as MONAI's runner takes them.
        overrides: keys of the config, as on the command line of MONAI's runner.

    Raises:
        InputError: a file is missing, or an override is no key of the bundle's configs.
    """
    files = [str(file) for file in ensure_tuple(config_file)]
    folder = Path(files[0]).resolve().parent
    for file in (*files, str(folder / "metadata.json")):
        if not os.path.isfile(file):
            raise InputError(f"'{file}' does not exist; config_file is a bundle's configs/train.yaml")
    parser = ConfigParser()
    parser.read_config(files)
    parser.read_meta(folder / "metadata.json")
    # a bundle's own way to find its root asks MONAI's runner, which is not running here
    overrides = {"bundle_root": str(folder.parent), **overrides}
    for key, value in overrides.items():
        parser[key] = value
    check_keys(parser.get(), folder)
    return parser


def evaluate(parser: ConfigParser, key: str) -> object:
    """What a key of the config stands for.

    Raises:
        InputError: it cannot be evaluated.
    """
    try:
        return parser.get_parsed_content(key)
    except Exception as error:  # an expression can raise anything
        reasons = list(causes(error))
        user_error = next((reason for reason in reasons if isinstance(reason, UserError)), None)
        raise user_error or InputError(
            f"{key} of the config cannot be evaluated: {reasons[-1]}. Is it a path? One that begins with $, @ or % is "
            "taken for an expression, a reference or a macro of MONAI's config language; ./ in front keeps it a path"
        ) from error
