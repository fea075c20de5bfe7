# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import Compose, Lambda, LoadImaged, RandCoarseDropoutd, RandSpatialCropd
from support.dicom import write_series
from support.runner import BUNDLES

from scdl_components import atomic
from scdl_components.data import CaseDataset, disk_cache
from scdl_components.errors import InputError
from scdl_components.phantom import write_phantoms

TRAIN = BUNDLES / "scdl_synapse" / "configs" / "train.yaml"
fork = multiprocessing.get_context("fork")


def preprocessing(key: str = "train#preprocessing", **overrides: object) -> Compose:
    """The bundle's own, for small volumes."""
    parser = ConfigParser()
    parser.read_config(str(TRAIN))
    for name, value in {"pixdim": [2.0, 2.0, 2.0], "roi_size": [16, 16, 16], **overrides}.items():
        parser[name] = value
    return parser.get_parsed_content(key)


def dataset(cases, cache_dir, cache_rate=1.0, **overrides) -> CaseDataset:
    return CaseDataset(cases, preprocessing(**overrides), cache_rate, cache_dir)


def counts(data: CaseDataset) -> tuple[int, int]:
    """How many entries it has read and written."""
    return data.disk.counts["read"], data.disk.counts["written"]


def assert_same(one: dict, other: dict) -> None:
    """The same plain tensors in the same order."""
    assert list(one) == list(other)
    for key, value in one.items():
        assert type(value) is type(other[key]) is torch.Tensor and value.stride() == other[key].stride(), key
        torch.testing.assert_close(value, other[key], rtol=0, atol=0)


def warnings_of(caplog) -> list[str]:
    return [r.message for r in caplog.records if r.levelno == logging.WARNING and r.name.startswith("scdl")]


def write_case(folder: Path, number: int) -> dict[str, str]:
    """A CT of 20 × 18 × 12 voxels of 3 × 2.5 × 4 mm and its label; all files have one size and are an hour old."""
    voxels = np.random.default_rng(number).integers(-200, 300, (20, 18, 12), dtype=np.int16)
    case = {}
    for key, values in {"image": voxels, "label": (voxels > 100).astype(np.uint8)}.items():
        path = folder / key / f"{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.diag([-3.0, 2.5, 4.0, 1.0])), path)
        case[key] = str(path)
    return case


@pytest.fixture
def cases(tmp_path) -> list[dict[str, str]]:
    return [write_case(tmp_path, number) for number in range(3)]


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "a" / "cache"


@pytest.mark.parametrize("key", ["train#preprocessing", "validate#preprocessing"])
def test_a_case_is_the_same_without_a_cache_when_it_is_written_and_when_it_is_read(cases, cache, key):
    fresh, cold, warm = (CaseDataset(cases, preprocessing(key), cache_dir=where) for where in (None, cache, cache))
    assert counts(fresh) == (0, 0) and counts(cold) == (0, 3) and counts(warm) == (3, 0)
    rest = [CaseDataset(cases, preprocessing(key), 0.0, where) for where in (None, cache)]  # when it is asked for
    for index in range(3):
        for data in (fresh, cold, warm, *rest):
            data.transform.set_random_state(index)
            assert_same(fresh.memory[index], data.memory.get(index, fresh.memory[index]))
        items = [data[index] for data in (fresh, cold, warm, *rest)]
        for item in items:
            assert_same(items[0], item)


@pytest.mark.parametrize("key", ["image", "label"])
def test_changed_content_is_preprocessed_anew(cases, cache, key):
    dataset(cases, cache)
    before = os.stat(cases[0][key])
    shutil.copyfile(write_case(cache.parent, 99)[key], cases[0][key])
    os.utime(cases[0][key], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert before.st_size == os.stat(cases[0][key]).st_size
    again = dataset(cases, cache)
    assert counts(again) == (2, 1)
    assert_same(dataset(cases, None).memory[0], again.memory[0])


@pytest.mark.parametrize(
    "change",
    [
        {"pixdim": [2.0, 2.0, 2.5]},
        {"train#deterministic_transforms#2#mode": ["bilinear", "bilinear"]},
        {"train#deterministic_transforms#4#_disabled_": True},
    ],
)
def test_changed_preprocessing_is_done_anew(cases, cache, change):
    dataset(cases, cache)
    again = dataset(cases, cache, **change)
    assert counts(again) == (0, 3)
    assert_same(dataset(cases, None, **change).memory[0], again.memory[0])
    assert counts(dataset(cases, cache)) == (3, 0)  # and what there was before stays


def test_random_transforms_do_not_count_and_used_transforms_are_the_same(cases, cache):
    data = dataset(cases, cache)
    assert counts(CaseDataset(cases, data.transform, cache_dir=cache)) == (3, 0)
    assert counts(dataset(cases, cache, **{"train#random_transforms#0#random_center": False})) == (3, 0)


def test_a_copy_elsewhere_shares_the_entry(cases, cache, tmp_path):
    dataset(cases[:1], cache)
    moved = {key: str(shutil.copy(path, tmp_path / f"other_{key}.nii")) for key, path in cases[0].items()}
    assert counts(dataset([moved], cache)) == (1, 0)
    # the other key's file is another case, and so is a case without its label
    swapped = {"image": moved["label"], "label": moved["image"]}
    assert counts(dataset([swapped, {"image": moved["image"]}], cache)) == (0, 2)


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
        os.kill(process.pid, signal.SIGKILL)
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


def test_a_file_that_vanished_is_left_out_and_named_although_its_entry_is_there(cases, cache, caplog):
    unlabeled = [{"image": case["image"]} for case in cases]
    for data in (unlabeled, cases):
        dataset(data, cache)
    os.unlink(cases[1]["image"])
    data = dataset(unlabeled, cache)
    assert f"{unlabeled[1]} cannot be loaded now: FileNotFoundError" in caplog.text and counts(data) == (2, 0)
    assert data[0]["image"].shape == (1, 16, 16, 16)
    with pytest.raises(RuntimeError):
        data[1]
    with pytest.raises(InputError, match=r"labeled case .*1\.nii.* cannot be loaded: FileNotFound"):
        dataset(cases, cache)


class CropOfMemory(RandSpatialCropd):
    """Notes where the volume lies that is cropped."""

    def __call__(self, data, lazy=None):
        self.seen = data["image"].data_ptr()
        return super().__call__(data, lazy)


def test_a_crop_neither_copies_the_volume_nor_leads_to_it(cases):
    crop = CropOfMemory(["image"], (16, 16, 8), random_size=False)
    in_place = RandCoarseDropoutd(["image"], holes=4, spatial_size=8, fill_value=999, prob=1)
    for steps, copied in ([crop, in_place], False), ([in_place, crop], True):
        data = CaseDataset(cases, Compose([LoadImaged(["image"], ensure_channel_first=True), *steps]))
        assert data[0]["image"].max() == 999 and data.memory[0]["image"].max() <= 300
        assert (crop.seen == data.memory[0]["image"].data_ptr()) is not copied


def trained(folder: Path, data: str, cache_dir: Path | None) -> tuple[dict, list[tuple[int, int]]]:
    """Weights after two iterations with half of the cases in memory, and what each dataset read and wrote."""
    scale = {"pixdim": [12] * 3, "roi_size": [16] * 3, "num_filters": 2, "num_workers": 0, "voxels_per_token": 4}
    places = {"dataset_dir": data, "case_list": "case_list.json", "ckpt_dir": str(folder), "output_dir": str(folder)}
    cache = {"cache_dir": str(cache_dir) if cache_dir else False, "cache_rate": 0.5}
    run = ConfigWorkflow(str(TRAIN), logging_file=False, max_iterations=2, **scale, **places, **cache)
    run.initialize()
    run.run()
    names = ["train#dataset", "train#unlabeled_dataset", "validate#dataset"]
    weights = {name: torch.load(folder / name, weights_only=True) for name in ("model.pt", "model_final.pt")}
    return weights, [counts(run.parser.get_parsed_content(name)) for name in names]


def test_training_is_the_same_to_the_bit(tmp_path):
    data = write_phantoms(tmp_path / "phantom", 1, 2, 1, 0, spacing=(12.0, 12.0, 12.0))
    without, _ = trained(tmp_path / "without", data, None)
    cold, first = trained(tmp_path / "cold", data, tmp_path / "cache")
    warm, second = trained(tmp_path / "warm", data, tmp_path / "cache")
    assert all(written > 0 for _, written in first) and all(read > 0 == written for read, written in second)
    for name, weights in without.items():
        assert_same(weights, cold[name])
        assert_same(weights, warm[name])
