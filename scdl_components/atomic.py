# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, and hashed."""

import errno
import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch

from .distributed import on_rank_zero
from .errors import MissingFileError, UserError

# suffix of temporary files; one that a killed process left is overwritten by the next of its name
PART = ".part"
# SHA-256 by path, inode, size and times; one of them changes with the content (ctime cannot be set back)
_hashes: dict[tuple[object, ...], str] = {}
_noted: set[tuple[object, ...]] = set()  # keys that stand in a file of notes
NOTES = "hashes.jsonl"  # its name, in a cache's folder
STAMP_SECONDS = 2  # the coarsest time stamps: a younger file may change again under the same stamp
GO_ON = (
    "Make room or give a folder that can be written to (--ckpt_dir), then run the same command again: it goes on from "
    "the last checkpoint"
)
OTHER_FOLDER = "Make room or give another folder: --ckpt_dir for checkpoints, --output_dir for the logs"


class StorageError(UserError, OSError):
    """A file cannot be written; what was saved before is intact."""


class DamagedFileError(UserError, ValueError):
    """A saved file is damaged."""


@contextmanager
def whole_file(path: str | Path, way_out: str, part: str | Path | None = None) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: a temporary one is flushed, then renamed.

    Args:
        path: where to; its folder is made.
        way_out: what the user can do where that cannot be.
        part: path of the temporary file, one of its own where several processes may write at once; default ``path``
            with a suffix.

    Raises:
        StorageError: when the disk is full, the folder read-only, ...; a file that was at ``path`` is intact.
    """
    path = Path(path)
    part = Path(part or path.with_name(path.name + PART))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        if hasattr(os, "O_DIRECTORY"):  # not on Windows; the new name survives a power failure, too
            descriptor = os.open(path.parent, os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)
    # torch turns an error of the disk into a RuntimeError of its own where it closes the archive
    except (OSError, RuntimeError) as error:
        with suppress(OSError):  # it may not be removable either
            part.unlink(missing_ok=True)
        reason = next((e for e in (error, error.__cause__, error.__context__) if isinstance(e, OSError)), error)
        raise StorageError(f"cannot write {path} ({reason}); what was saved before is intact. {way_out}") from error


def save_atomically(content: object, path: str | Path, way_out: str = GO_ON) -> None:
    """Save with ``torch.save`` through :func:`whole_file`."""
    with whole_file(path, way_out) as file:
        torch.save(content, file)


# all ranks call it; rank zero writes, and the others wait
save_on_rank_zero = on_rank_zero(save_atomically)


@on_rank_zero
def check_writable(folders: Iterable[str | Path], way_out: str = OTHER_FOLDER) -> None:
    """Test whether folders, existing or not, can be written to.

    Raises:
        StorageError: when one cannot; ``way_out`` ends the message.
    """
    for folder in map(Path, folders):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise StorageError(f"cannot write to {folder} ({error}). {way_out}") from error


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn errors of a full or read-only disk into :py:class:`StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise StorageError(f"cannot write on ({error}); what was saved before is intact. {GO_ON}") from error


def read_saved(path: str | Path) -> dict:
    """Read a file of :func:`save_atomically`, on the CPU, its checksums verified.

    Raises:
        MissingFileError: there is none.
        DamagedFileError: it cannot be read, or not safely.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"cannot resume from {path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes checksums and does not verify them
            broken = archive.testzip()
        if broken is not None:
            raise DamagedFileError(f"{path} is damaged: the checksum of its part {broken} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (DamagedFileError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make zipfile and the unpickler raise anything
        raise DamagedFileError(f"{path} is damaged or no checkpoint ({type(error).__name__}: {error})") from error


def file_hash(path: str | Path, notes: str | Path | None = None) -> str:
    """Hash a file (SHA-256, hexadecimal), again only when its size or times have changed.

    Args:
        path: the file.
        notes: file to note the hash in, for :func:`read_hashes` of later processes.

    Raises:
        OSError: it cannot be read.
    """
    key, digest = _hashed(path)
    if notes is not None and key in _hashes and key not in _noted:
        _noted.add(key)
        with suppress(OSError), open(notes, "a", encoding="utf-8") as lines:
            lines.write(json.dumps([key, digest]) + "\n")
    return digest


def _hashed(path: str | Path) -> tuple[tuple[object, ...], str]:
    with open(path, "rb") as file:
        stat = os.fstat(file.fileno())
        key = (os.path.realpath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if key in _hashes:
            return key, _hashes[key]
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    if max(stat.st_mtime, stat.st_ctime) < time.time() - STAMP_SECONDS:
        _hashes[key] = digest.hexdigest()
    return key, digest.hexdigest()


def read_hashes(notes: str | Path) -> None:
    """Read the hashes that earlier processes noted with :func:`file_hash`; damaged lines are skipped."""
    with suppress(OSError), open(notes, "rb") as lines:
        for line in lines:
            with suppress(ValueError, TypeError):
                (path, *numbers), digest = json.loads(line)
                _hashes[(path, *numbers)] = str(digest)
                _noted.add((path, *numbers))


def folder_hash(path: str | Path, notes: str | Path | None = None) -> str:
    """Hash the names and contents of the files in a folder; ``notes`` as in :func:`file_hash`.

    Raises:
        OSError: one cannot be read.
    """
    files = [[file.name, file_hash(file, notes)] for file in sorted(Path(path).iterdir()) if file.is_file()]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def path_hash(path: str | Path) -> str:
    """Hash what is at a path: :func:`folder_hash` of a folder (a DICOM series), else :func:`file_hash`."""
    return folder_hash(path) if Path(path).is_dir() else file_hash(path)
