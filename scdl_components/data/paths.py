# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Paths of a config, as the command line and MONAI's config language changed them."""

import os

from ..errors import InputError


def given_path(path: object, key: str) -> str:
    """Check a path given under a config's key and expand ``~`` in it.

    MONAI writes every ``#`` of a config as ``::``, which is undone where only the other file exists.

    Raises:
        InputError: it is no path: the command line reads ``1e3``, ``None`` and ``a,b`` as values of Python.
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fspath(path):
        raise InputError(
            f"{key} is {path!r} ({type(path).__name__}); expected a path. The command line reads a name such as 1e3 or "
            "None as a value: write ./1e3, or the whole path"
        )
    path = os.path.expanduser(os.fspath(path))
    as_typed = path.replace("::", "#")
    return as_typed if os.path.exists(as_typed) and not os.path.exists(path) else path
