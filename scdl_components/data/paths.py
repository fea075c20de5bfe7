# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Paths as a config gives them. What the command line and MONAI's config language do to some of them is mended here.

MONAI writes every ``#`` of a config's text as ``::``; Fire reads ``1e3``, ``None`` and ``a,b`` as values of Python.
Names that begin with ``$``, ``@`` or ``%`` have a meaning in a config and never arrive here: ``./`` in front keeps them.
"""

from __future__ import annotations

import os

from scdl_components.errors import InputError


def given_path(path: object, key: str) -> str:
    """A path given under a config's key, with ``~`` expanded.

    Args:
        path: what the config has.
        key: for the message.

    Raises:
        InputError: it is no path.
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fspath(path):
        raise InputError(
            f"{key} is {path!r} ({type(path).__name__}); expected a path. The command line reads a name such as 1e3 or "
            "None as a value: write ./1e3, or the whole path"
        )
    path = os.path.expanduser(os.fspath(path))
    as_typed = path.replace("::", "#")
    return as_typed if as_typed != path and not os.path.exists(path) and os.path.exists(as_typed) else path
