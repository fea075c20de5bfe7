# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessed cases in a folder, so that the next start need not preprocess them again."""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import logging
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import RandomizableTrait, Transform, reset_ops_id
from monai.utils import ImageMetaKey, ensure_tuple, enums

from ..atomic import read_saved
from ..errors import MissingFileError
from .cache_key import describe, digest_case, recipe_of
from .paths import given_path

logger = logging.getLogger(__name__)
# of files in the making; those that killed processes left behind are removed after a day
NEW = ".new"
STALE_SECONDS = 24 * 3600
KEEP_FREE = 5 * 2**30  # bytes of the disk that are left to checkpoints and to others
WAY_OUT = "Training goes on without keeping what it preprocesses; --cache_dir names another folder; False: none"
FILENAME = ImageMetaKey.FILENAME_OR_OBJ
HERE = "<a path of the case>"  # in an entry, which other paths may share
_stopped: set[Path] = set()  # folders that this process has told it cannot write to
ENUMS = [found for _, found in inspect.getmembers(enums, inspect.isclass) if issubclass(found, Enum)]
# what stands in the meta data of MONAI's transforms beside plain values, and executes nothing
torch.serialization.add_safe_globals(
    [
        *(np.ndarray, np.dtype, np.zeros(0).__reduce__()[0], np.float32(0).__reduce__()[0], bytes),
        *{type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"},
        *ENUMS,
    ]
)
for found in ENUMS:  # as other Pythons do; 3.11.0 to 3.11.3 would write a call of getattr, which no reader may allow
    copyreg.pickle(found, lambda member: (type(member), (member.value,)))


class CaseCache:
    """Results of what was done to cases, one file each, found by what it was and the content of a case's files.

    Several processes may use a folder at the same time, and a process may end at any time: an entry is there whole or
    not at all, and what is damaged is made anew. Entries are read without executing anything that stands in them. A
    folder can be deleted at any time.

    Args:
        folder: where the entries are; it is made.
        recipe: what is done: transforms, functions, numbers, ...
        keep_free: bytes of the disk that are not taken.
    """

    def __init__(self, folder: str | os.PathLike, recipe: object, keep_free: int = KEEP_FREE) -> None:
        self.keep_free = keep_free
        self.counts: Counter[str] = Counter()
        self.warned: set[str] = set()
        try:
            self.recipe = describe(recipe)
        except (TypeError, ValueError, RecursionError) as error:
            self.recipe = None
            self._warn("cannot keep preprocessed cases", error)
            return
        self.parent = Path(given_path(folder, "cache_dir"))
        self.folder = self.parent / hashlib.sha256(self.recipe.encode()).hexdigest()[:16]
        self._open()

    def get(self, case: Mapping[str, object], make: Callable[[], dict]) -> dict:
        """The result for a case, from the folder if it is there; else ``make`` makes it, and it is kept.

        Raises:
            whatever ``make`` raises; and OSError, where a file of the case cannot be read.
        """
        key = self._key(case)
        if key is None:
            return make()
        found = self._read(key)
        if found is not None:
            self.counts["read"] += 1
            return _exchange(found, dict.fromkeys(case, HERE), _paths(case))
        item = make()
        # the files may have changed after the key was made of them
        if self.writable and self._key(case) == key:
            nameless = _exchange(item, _paths(case), dict.fromkeys(case, HERE))
            self._write(key, nameless)
            item = _exchange(nameless, dict.fromkeys(case, HERE), _paths(case))
        return item

    def _key(self, case: Mapping[str, object]) -> str | None:
        if self.recipe is None:
            return None
        try:
            return digest_case(case)
        except (TypeError, ValueError, RecursionError) as error:
            self._warn("cannot keep a preprocessed case", error)
            return None

    def _open(self) -> None:
        self.writable = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"*{NEW}*"):
                with suppress(FileNotFoundError):  # another process may remove it, too
                    if path.stat().st_mtime < time.time() - STALE_SECONDS:
                        path.unlink()
            about = self.folder / "recipe.json"  # for people
            if not about.exists():
                about.write_text(self.recipe, encoding="utf-8")
        except OSError as error:
            self._stop(error)

    def _read(self, key: str) -> dict | None:
        path = self.folder / f"{key}.pt"
        try:
            return _load(path, key)
        except MissingFileError:
            return None
        except Exception as error:  # what stands in a damaged file can raise anything
            logger.warning("%s cannot be read and is made anew: %s", path, error)
            return None

    def _write(self, key: str, item: dict) -> None:
        new = self.folder / f"{key}.{uuid.uuid4().hex}{NEW}"
        try:
            free = shutil.disk_usage(self.folder).free
            if free < self.keep_free:
                raise OSError(f"{free >> 20} MB are free on its disk, and {self.keep_free >> 20} are left free")
            with open(new, "wb") as file:
                torch.save({"key": f"{self.folder.name}/{key}", "item": item}, file)
            # what cannot be read is not kept; what a power failure cuts off is found by its checksums
            _load(new, key)
            os.replace(new, self.folder / f"{key}.pt")
            self.counts["written"] += 1
        # torch turns an error of the disk into a RuntimeError of its own where it closes the archive
        except (OSError, RuntimeError) as error:
            self._stop(error)
        except Exception as error:  # whatever torch has against what a transform put there
            self._warn("cannot keep a preprocessed case", error)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)

    def _stop(self, error: Exception) -> None:
        self.writable = False
        if self.parent not in _stopped:  # each data set has a cache of its own there
            self._warn(f"cannot keep preprocessed cases in {self.parent}", error)
        _stopped.add(self.parent)

    def _warn(self, what: str, error: Exception) -> None:
        if what not in self.warned:
            logger.warning("%s: %s. %s", what, error, WAY_OUT)
        self.warned.add(what)


class PersistentCacheDataset(CacheDataset):
    """MONAI's CacheDataset, which finds and leaves the results of the deterministic transforms in a folder.

    MONAI's PersistentDataset knows its files by their names alone, ends with a full disk or a cut-off file, and drops
    all meta data.

    Args:
        data: cases.
        transform: all transforms.
        cache_rate: fraction of the preprocessed cases kept in memory.
        cache_dir: folder of preprocessed cases, which others may use, too; None or False: none.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, object]],
        transform: Sequence[Callable] | Callable | None = None,
        cache_rate: float = 1.0,
        cache_dir: str | os.PathLike | Literal[False] | None = None,
    ) -> None:
        self.cache_dir = cache_dir
        self.store: CaseCache | None = None
        super().__init__(data, transform, cache_rate=cache_rate)

    def set_data(self, data: Sequence[Mapping[str, object]]) -> None:
        """Sets the cases and fills the memory."""
        if self.cache_dir and self.store is None:
            self.store = CaseCache(self.cache_dir, recipe_of(self.transform, self._first_random()))
        super().set_data(data)
        if self.store is not None and self.store.counts:
            counts = self.store.counts
            logger.info("%s: %d cases read, %d written", self.cache_dir, counts["read"], counts["written"])

    def _first_random(self) -> int | None:
        return self.transform.get_index_of_first(
            lambda transform: isinstance(transform, RandomizableTrait) or not isinstance(transform, Transform)
        )

    def _load_cache_item(self, idx: int) -> dict:
        preprocess = super()._load_cache_item
        if self.store is None:
            return preprocess(idx)
        # addresses of transforms mean nothing to the next process, which would refuse to invert them
        return self.store.get(self.data[idx], lambda: reset_ops_id(preprocess(idx)))

    def _transform(self, index: int) -> object:
        if self.store is None or index % len(self) < self.cache_num:
            return super()._transform(index)
        item, first = self._load_cache_item(index), self._first_random()
        return item if first is None else self.transform(item, start=first)


def _load(path: Path, key: str) -> dict:
    entry = read_saved(path)
    if entry["key"] != f"{path.parent.name}/{key}":
        raise ValueError("it is of another case or preprocessing")
    return entry["item"]


def _paths(case: Mapping[str, object]) -> dict[str, str]:
    """Path by key, as MONAI's LoadImage notes it."""
    return {key: str(ensure_tuple(value)[0]) for key, value in case.items() if ensure_tuple(value)}


def _exchange(item: object, old: Mapping[str, str], new: Mapping[str, str]) -> object:
    """``item`` with other paths where its values or their meta data (changed in place) have the old ones."""
    if not isinstance(item, dict):
        return item
    changed = {}
    for key, value in item.items():
        if isinstance(value, MetaTensor) and key in old and value.meta.get(FILENAME) == old[key]:
            value.meta[FILENAME] = new[key]
        changed[key] = new[key] if isinstance(value, str) and value == old.get(key) else value
    return changed
