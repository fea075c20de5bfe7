# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of results, found by content of the files and the recipe."""

import hashlib
import json
import logging
import os
import pickle
import pickletools
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import monai
import nibabel
import numpy
import pydicom
import torch

from .. import __version__
from ..atomic import NOTES, PART, StorageError, file_hash, folder_hash, read_hashes, read_saved, whole_file
from .paths import given_path
from .reader import SUFFIXES

logger = logging.getLogger(__name__)
LIBRARIES = (monai, torch, numpy, nibabel, pydicom)  # a new version may read or resample otherwise
STALE_SECONDS = 24 * 3600  # age at which unfinished files of killed processes are removed
KEEP_FREE = 2**30  # bytes of the disk that are left free, for checkpoints
WAY_OUT = "Training goes on without keeping what it preprocesses; --cache_dir names another folder; False: none"


class DiskCache:
    """Keep results of cases in a folder that several processes may use.

    Each is a file that is there whole or not at all. A damaged one is made anew; nothing in one is ever executed. The
    folder can be deleted at any time. Where nothing can be kept, one warning says so.

    Args:
        folder: created when missing; None or False keeps nothing.
        recipe: everything that decides the result beside the files: transforms, functions, numbers, ...
    """

    def __init__(self, folder: str | os.PathLike | Literal[False] | None, recipe: object) -> None:
        self.counts: Counter[str] = Counter()  # entries read and written
        self.folder = Path(given_path(folder, "cache_dir")) if folder else None
        self.writable = True
        if self.folder is None:
            return
        self.notes = self.folder / NOTES
        try:
            self.recipe = recipe_hash(recipe)
            self.folder.mkdir(parents=True, exist_ok=True)
        except Exception as error:  # of the disk, or whatever pickle says of a lambda, an open file, ...
            _warn_once(f"cannot keep preprocessed cases in {self.folder}: {error}. {WAY_OUT}")
            self.folder = None
            return
        read_hashes(self.notes)
        with suppress(OSError):  # another process may remove it, too
            for part in self.folder.glob(f"*{PART}"):
                if part.stat().st_mtime < time.time() - STALE_SECONDS:
                    part.unlink()

    def get(self, case: Mapping[str, object], make: Callable[[], dict]) -> dict:
        """Get the kept result of a case, or make and keep it.

        Args:
            case: plain values by key; paths of NIfTI files and folders stand for their content.
            make: makes the result, and may raise anything.
        """
        entry = self._entry(case)
        if entry is not None and entry.is_file():
            try:
                item = read_saved(entry)
                self.counts["read"] += 1
                return item
            except Exception as error:  # a damaged file can raise anything
                logger.warning("%s cannot be read and is made anew: %s", entry, error)
        item = make()
        # not where the files have changed since they were hashed
        if entry is not None and self.writable and self._entry(case) == entry:
            self._write(entry, item)
        return item

    def _entry(self, case: Mapping[str, object]) -> Path | None:
        """Name the file of a case's result; None where it cannot be kept."""
        if self.folder is not None:
            try:
                return self.folder / f"{content_hash(case, self.notes)}-{self.recipe}.pt"
            except OSError:  # the transforms say what is wrong with it
                return None
            except (TypeError, ValueError) as error:
                _warn_once(f"cannot keep a preprocessed case: {error}. {WAY_OUT}")
        return None

    def _write(self, entry: Path, item: dict) -> None:
        try:
            free = shutil.disk_usage(entry.parent).free
            if free < KEEP_FREE:
                raise StorageError(
                    f"{free >> 20} MB are free on the disk, and {KEEP_FREE >> 20} are left free. {WAY_OUT}"
                )
            with whole_file(entry, WAY_OUT, entry.with_name(f"{uuid.uuid4().hex}{PART}")) as file:
                torch.save(item, file)
            self.counts["written"] += 1
        except Exception as error:  # of the disk, or an item that torch cannot save
            _warn_once(f"cannot keep preprocessed cases in {self.folder}: {error}")
            self.writable = False


def recipe_hash(recipe: object) -> str:
    """Hash objects with their parameters, their modules' sources and the libraries' versions.

    Sources are those of the modules that define the recipe's classes and functions.

    Raises:
        Exception: they cannot be told apart: a lambda, an open file, a class of a notebook, ...
    """
    dump = pickle.dumps(recipe, protocol=3)  # the last one that names modules in one operation
    modules = {argument.split()[0] for code, argument, _ in pickletools.genops(dump) if code.name == "GLOBAL"}
    sources = sorted(file_hash(sys.modules[name].__file__) for name in modules - set(sys.builtin_module_names))
    versions = [__version__, *(library.__version__ for library in LIBRARIES)]
    return hashlib.sha256(repr((dump, sources, versions)).encode()).hexdigest()[:32]


def content_hash(case: Mapping[str, object], notes: Path) -> str:
    """Hash a case's values; for files and folders their content.

    Raises:
        TypeError, ValueError: a value is not plain, or a file may not hold all of its volume.
        OSError: a file cannot be read.
    """

    def content(value: object) -> object:
        if not isinstance(value, (str, os.PathLike)) or not os.path.exists(value):
            return value
        if os.path.isdir(value):
            return folder_hash(value, notes)
        # other formats may keep voxels in a further file; opening a pipe would wait for ever
        if not str(value).lower().endswith(SUFFIXES) or not os.path.isfile(value):
            raise ValueError(f"{value} is no {' or '.join(SUFFIXES)} file or folder")
        return [Path(value).suffix.lower(), file_hash(value, notes)]

    contents = json.dumps({key: content(value) for key, value in case.items()}, sort_keys=True)
    return hashlib.sha256(contents.encode()).hexdigest()[:32]


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)
