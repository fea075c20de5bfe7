# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's config for commands of our own, read as MONAI's runner reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.bundle import ConfigParser
from monai.utils import ensure_tuple

from ..bundle import check_keys
from ..errors import InputError, causes, user_error


def read_bundle_config(config_file: str | Sequence[str], overrides: Mapping[str, object]) -> ConfigParser:
    """Read a bundle's config and metadata; nothing is evaluated yet.

    Args:
        config_file: the bundle's ``train.yaml``, or several configs as MONAI's runner takes them.
        overrides: keys of the config, as on the command line of MONAI's runner.

    Raises:
        InputError: a file is missing, or an override is no key of the bundle's configs.
    """
    files = [str(file) for file in ensure_tuple(config_file)]
    metadata = Path(files[0]).resolve().with_name("metadata.json")
    for file in (*files, metadata):
        if not Path(file).is_file():
            raise InputError(f"'{file}' does not exist; config_file is a bundle's configs/train.yaml")
    parser = ConfigParser()
    parser.read_config(files)
    parser.read_meta(metadata)
    # the config would look for MONAI's runner to find its root, and none is running here
    overrides = {"bundle_root": str(metadata.parents[1]), **overrides}
    parser.update(overrides)
    check_keys(parser.get(), metadata.parent)
    return parser


def evaluate(parser: ConfigParser, key: str) -> object:
    """Evaluate a key of the config.

    Raises:
        InputError: there is no such key, or it cannot be evaluated.
    """
    if key not in parser:
        raise InputError(f"this config has no {key}; give a bundle's configs/train.yaml")
    try:
        return parser.get_parsed_content(key)
    except Exception as error:  # an expression can raise anything
        raise user_error(error) or InputError(
            f"{key} of the config cannot be evaluated: {list(causes(error))[-1]}. Is it a path? One that begins with $, @ or % is "
            "taken for an expression, a reference or a macro of MONAI's config language; ./ in front keeps it a path"
        ) from error
