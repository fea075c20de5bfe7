# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import logging
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambda, LoadImaged
from support.cases import assert_same, counts, dataset, write_case
from support.dicom import write_series

from scdl_components import atomic
from scdl_components.data import CaseDataset, disk_cache
from scdl_components.data.facts import VolumeFacts, read_facts
from scdl_components.data.input_check import read_files

fork = multiprocessing.get_context("fork")


def warnings_of(caplog) -> list[str]:
    return [r.message for r in caplog.records if r.levelno == logging.WARNING and r.name.startswith("scdl")]


def test_each_slice_of_a_dicom_series_counts(cache, tmp_path):
    voxels = np.random.default_rng(0).integers(-200, 300, (20, 18, 12), dtype=np.int16)
    write_series(tmp_path / "series", voxels, np.diag([-3.0, 2.5, 4.0, 1.0]), "1.2.3")
    case = {"image": str(tmp_path / "series")}
    dataset([case], cache)
    assert counts(dataset([case], cache)) == (1, 0)
    path = tmp_path / "series" / "slice005.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes(255 - byte for byte in content[-2:]))
    assert counts(dataset([case], cache)) == (0, 1)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("canary",)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def plant_zip(path: Path) -> None:
    torch.save({"image": Malicious()}, path)


def plant_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Malicious()))


@pytest.mark.parametrize("damage", [truncate, flip, plant_zip, plant_pickle, lambda path: path.write_bytes(b"")])
def test_what_is_damaged_or_malicious_is_made_anew_and_never_run(cases, cache, caplog, monkeypatch, damage):
    monkeypatch.chdir(cache.parent.parent)
    first = dataset(cases[:1], cache)
    (entry,) = cache.glob("*.pt")
    damage(entry)
    again = dataset(cases[:1], cache)
    assert f"{entry} cannot be read and is made anew" in caplog.text and not os.path.exists("canary")
    assert counts(again) == (0, 1)
    assert_same(first.memory[0], again.memory[0])
    assert counts(dataset(cases[:1], cache)) == (1, 0)


def fill(cases, cache, start=None, limit: int | None = None) -> None:
    """In a process of its own: fills the cache and dies with an error unless the cases are right."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if start is not None:
        start.wait()
    filled, fresh = dataset(cases, cache), dataset(cases, None)
    for number in range(len(cases)):
        assert_same(fresh.memory[number], filled.memory[number])


def test_processes_fill_one_cache_at_the_same_time(cache, tmp_path):
    cases = [write_case(tmp_path, number) for number in range(12)]
    start = fork.Barrier(3)
    processes = [fork.Process(target=fill, args=(cases, cache, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(cache.glob("*.pt"))) == 12 and not list(cache.glob("*.part"))
    assert counts(dataset(cases, cache)) == (12, 0)


def test_killed_processes_leave_whole_entries_and_what_they_were_writing_goes_after_a_day(cache, tmp_path, caplog):
    cases = [write_case(tmp_path, number) for number in range(12)]
    for _ in range(3):
        process = fork.Process(target=fill, args=(cases, cache))
        process.start()
        while process.is_alive() and not list(cache.glob("*.part")):
            pass
        process.kill()
        process.join(60)
    fill(cases, cache)
    old, young = cache / "1.part", cache / "2.part"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - disk_cache.STALE_SECONDS - 60,) * 2)
    assert counts(dataset(cases, cache)) == (12, 0) and young.exists() and not old.exists()
    assert not warnings_of(caplog)


@pytest.mark.parametrize("where", ["file", "file/deeper", "/proc/cache"])
def test_a_folder_that_cannot_be_made_is_one_warning(cases, tmp_path, caplog, where):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert_same(dataset(cases, None).memory[2], dataset(cases, tmp_path / where).memory[2])
    (message,) = warnings_of(caplog)
    assert f"cannot keep preprocessed cases in {tmp_path / where}" in message and "--cache_dir" in message


def test_a_full_disk_is_one_warning(cases, cache, caplog, monkeypatch):
    """The kernel's own error, half-way through an entry."""
    process = fork.Process(target=fill, args=(cases, cache, None, 20_000))
    process.start()
    process.join(60)
    assert process.exitcode == 0 and not list(cache.glob("*.pt")) and not list(cache.glob("*.part"))
    monkeypatch.setattr(disk_cache, "KEEP_FREE", 2**62)
    assert counts(dataset(cases, cache)) == (0, 0)
    (message,) = warnings_of(caplog)
    assert f"cannot keep preprocessed cases in {cache}: " in message and "MB are free on the disk" in message


def test_a_folder_that_holds_all_is_only_read(cases, cache, caplog):
    dataset(cases, cache)
    before = sorted((path, path.stat().st_mtime_ns) for path in cache.glob("*"))
    assert counts(dataset(cases, cache)) == (3, 0)
    assert sorted((path, path.stat().st_mtime_ns) for path in cache.glob("*")) == before
    assert not warnings_of(caplog)


@pytest.mark.parametrize("notes", ["of another start", "damaged"])
def test_a_second_start_knows_files_by_their_size_and_times(cases, cache, monkeypatch, notes):
    monkeypatch.setattr(atomic, "STAMP_SECONDS", -1)  # files of this moment count as old
    dataset(cases, cache)
    path = cache / "hashes.jsonl"
    assert len(path.read_text().splitlines()) == 6
    if notes == "damaged":
        path.write_bytes(b"\xff\xfe\n[]\n[[1], null]\n" + path.read_bytes()[:-30])
    else:  # what stands there is believed, so no file is read
        first = atomic.file_hash(cases[0]["image"])
        path.write_text(path.read_text().replace(first, "0" * 64))
    atomic._hashes.clear()
    assert counts(dataset(cases, cache)) == ((3, 0) if notes == "damaged" else (2, 1))


def test_what_cannot_be_known_by_its_name_is_one_warning_and_not_kept(cases, cache, caplog):
    steps = [LoadImaged(["image", "label"]), Lambda(lambda case: case)]
    for _ in range(2):
        assert CaseDataset(cases, Compose(steps), cache_dir=cache).memory[0]["image"].shape == (20, 18, 12)
    assert "<lambda>" in warnings_of(caplog)[0] and len(warnings_of(caplog)) == 1 and not list(cache.rglob("*.pt"))


def test_a_format_that_may_keep_voxels_in_a_further_file_is_not_kept(cases, cache, tmp_path, caplog):
    np.save(tmp_path / "image.npy", np.zeros((20, 18, 12)))
    data = dataset([{"image": str(tmp_path / "image.npy")}, {"image": cases[1]["image"]}], cache)
    assert "image.npy is no .nii" in caplog.text and counts(data) == (0, 1) and data.memory[0]["image"].ndim == 4


def test_a_file_that_changes_while_it_is_preprocessed_is_not_kept(cases, cache):
    disk = disk_cache.DiskCache(cache, "nothing")
    disk.get(cases[0], lambda: {"path": shutil.copyfile(cases[1]["image"], cases[0]["image"])})
    assert not list(cache.glob("*.pt"))


def assert_same_facts(one: VolumeFacts, other: VolumeFacts) -> None:
    assert list(vars(one)) == list(vars(other))
    for key, value in vars(one).items():
        assert type(value) is type(vars(other)[key]), key
        np.testing.assert_array_equal(value, vars(other)[key], err_msg=key)


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.pt"))


def test_facts_are_the_same_read_written_and_kept(crops, tmp_path):
    case = crops.case(1)
    write_series(tmp_path / "series", crops.voxels(2)[0], crops.affine, "1.2.3")
    paths = [*case.values(), str(tmp_path / "series")]

    def kept() -> dict[str, VolumeFacts]:
        return read_files(paths, cache_dir=tmp_path / "cache")

    for facts in (kept(), kept()):
        for path in paths:
            assert_same_facts(read_facts(path), facts[path])
        assert len(entries(tmp_path / "cache")) == 3
    # the second time the volumes are not read: what stands in the entries is believed
    for entry in entries(tmp_path / "cache"):
        content = torch.load(entry, weights_only=True)
        content["minimum"] = -12345.0
        torch.save(content, entry)
    assert [facts.minimum for facts in kept().values()] == [-12345.0] * 3


def test_failures_are_not_kept_and_are_told_as_ever(crops, tmp_path):
    path = crops.case(1)["image"]
    Path(path).write_bytes(Path(path).read_bytes()[:1000])
    os.mkfifo(tmp_path / "pipe.nii.gz")
    bad = [path, str(tmp_path / "nothing.nii"), str(tmp_path / "pipe.nii.gz")]
    for path, facts in read_files(bad, cache_dir=tmp_path / "cache").items():
        assert facts.failure and facts.failure == read_facts(path).failure
    assert not entries(tmp_path / "cache")
