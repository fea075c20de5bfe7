# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import os
import time
from contextlib import suppress

import pytest
import torch

from scdl_components.atomic import (
    DamagedFileError,
    StorageError,
    check_writable,
    file_hash,
    folder_hash,
    read_saved,
    save_atomically,
    storage_errors,
)


def test_what_is_saved_can_be_read(tmp_path):
    path = tmp_path / "new" / "a.pt"
    save_atomically({"a": torch.arange(3)}, path)
    assert torch.equal(read_saved(path)["a"], torch.arange(3))
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


def test_a_file_is_read_once_for_its_hash_and_again_when_it_changed(tmp_path, monkeypatch):
    path, now, read, sha256 = tmp_path / "a.nii", time.time(), [], hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda: read.append(1) or sha256())
    path.write_bytes(b"12345")
    assert [file_hash(path) for _ in range(2)] == [sha256(b"12345").hexdigest()] * 2
    assert len(read) == 2  # what was written this moment may change again at the same time
    monkeypatch.setattr(time, "time", lambda: now + 10)
    assert len({file_hash(path) for _ in range(5)}) == 1 and len(read) == 3
    stat = path.stat()
    path.write_bytes(b"12346")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_hash(path) == sha256(b"12346").hexdigest()


def test_a_hash_that_was_made_without_notes_is_noted_later(tmp_path, monkeypatch):
    """A resume hashes the cases before their cache is opened."""
    path, notes, now = tmp_path / "a.nii", tmp_path / "hashes.jsonl", time.time()
    path.write_bytes(b"12345")
    monkeypatch.setattr(time, "time", lambda: now + 10)
    file_hash(path)
    for _ in range(2):
        digest = file_hash(path, notes)
    assert notes.read_text().count(digest) == 1


def test_whatever_is_damaged_in_a_file_it_is_called_damaged(tmp_path):
    path = tmp_path / "a.pt"
    save_atomically({"a": torch.arange(3), "b": {"c": 1.0}}, path)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        for mask in (0x08, 0xFF):
            path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
            with suppress(DamagedFileError):
                found = read_saved(path)
                assert torch.equal(found["a"], torch.arange(3)) and found["b"] == {"c": 1.0}


def test_a_folder_is_the_names_and_contents_of_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(b"1")
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    (tmp_path / "b" / "2.dcm").write_bytes(b"2")
    assert folder_hash(tmp_path / "a") != folder_hash(tmp_path / "b")


def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.pt"
    save_atomically({"a": 1}, path)
    (tmp_path / "a.pt.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="a.pt .*No space left on device.*--ckpt_dir"):
        save_atomically({"a": torch.zeros(10**6)}, path)
    assert read_saved(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StorageError, match=f"cannot write to {folder} .*--ckpt_dir"):
            check_writable([tmp_path, folder])
    with pytest.raises(StorageError, match="cannot write .*file"):
        save_atomically({}, tmp_path / "file" / "a.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_can_be_made_is_not_made(tmp_path):
    check_writable([tmp_path / "a" / "b"])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_whoever_meets_it():
    with pytest.raises(StorageError, match="No space left.*last checkpoint"):
        with storage_errors(), open("/dev/full", "w") as file:
            file.write("x" * 10**6)
    for number in (errno.EROFS, errno.EDQUOT):
        with pytest.raises(StorageError), storage_errors():
            raise OSError(number, "no")
    with pytest.raises(FileNotFoundError), storage_errors():
        open("/nowhere")


@pytest.mark.parametrize("damage", ["cut", "bit", "text"])
def test_damage_is_found(tmp_path, damage):
    path = tmp_path / "a.pt"
    save_atomically({"a": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1  # in the tensor, where torch.load would not see it
    path.write_bytes({"cut": content[:2000], "bit": content, "text": b"text"}[damage])
    with pytest.raises(DamagedFileError, match="a.pt is damaged"):
        read_saved(path)
