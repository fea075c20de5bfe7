# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Facts about volume files that were read before: of the same bytes they are the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Literal

from .cache import CaseCache
from .dicom import read_series
from .facts import VolumeFacts, read_facts


class _FailureError(Exception):
    """A file cannot be read, which may not be for its content."""


def facts_reader(
    max_voxels: int, cache_dir: str | os.PathLike | Literal[False] | None = None
) -> Callable[[str], VolumeFacts]:
    """``read_facts`` of a path, from a folder where they are kept.

    Args:
        max_voxels: see :func:`.facts.read_facts`.
        cache_dir: the folder; None or False reads the file.
    """
    if not cache_dir:
        return partial(read_facts, max_voxels=max_voxels)
    store = CaseCache(cache_dir, [read_facts, read_series, max_voxels])

    def kept(path: str) -> VolumeFacts:
        def make() -> dict:
            facts = read_facts(path, max_voxels)
            if facts.failure:
                raise _FailureError(facts)
            return vars(facts)

        try:
            return VolumeFacts(**store.get({"path": path}, make))
        except _FailureError as error:
            return error.args[0]
        except OSError:  # says what is wrong with it
            return read_facts(path, max_voxels)

    return kept
