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
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Lambda, LoadImaged
from monai.utils import SpaceKeys
from support.dicom import write_series
from support.runner import BUNDLES

from scdl_components.data import FaultTolerantCacheDataset, PersistentCacheDataset
from scdl_components.data.cache import NEW, STALE_SECONDS, CaseCache
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


def dataset(cases, cache_dir, kind=PersistentCacheDataset, **overrides) -> PersistentCacheDataset:
    return kind(cases, preprocessing(**overrides), cache_dir=cache_dir)


def preprocessed(data: PersistentCacheDataset, index: int = 0) -> dict:
    """A case as it is in memory, before random transforms."""
    return data._cache[index]


def counts(data: PersistentCacheDataset) -> tuple[int, int]:
    """How many entries it has read and written."""
    return data.store.counts["read"], data.store.counts["written"]


def assert_same(one: object, other: object, fresh: bool = False, at: str = "") -> None:
    """Same types, values and order, all the way down.

    ``fresh``: one never went through MONAI's reset_ops_id, which drops the addresses of transforms and turns the tuples
    beside them into lists.
    """
    if isinstance(one, MetaTensor):
        assert one.stride() == other.stride(), at
        assert_same(one.as_tensor(), other.as_tensor(), fresh, at)
        assert_same(vars(one), vars(other), fresh, at)
        return
    if fresh and at.endswith("/id"):
        return
    assert type(one) is type(other) or (fresh and {type(one), type(other)} == {tuple, list}), (at, one, other)
    if isinstance(one, dict):
        assert list(one) == list(other), at
        for key in one:
            assert_same(one[key], other[key], fresh, f"{at}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), at
        for i, pair in enumerate(zip(one, other)):
            assert_same(*pair, fresh, f"{at}/{i}")
    elif isinstance(one, (np.ndarray, torch.Tensor)):
        assert one.dtype == other.dtype and one.shape == other.shape, at
        np.testing.assert_array_equal(one, other, err_msg=at)
    else:
        assert one == other or (one != one and other != other), (at, one, other)


def warnings_of(caplog) -> list[str]:
    """What the cache warns of."""
    return [r.message for r in caplog.records if r.levelno == logging.WARNING and r.name.startswith("scdl")]


def write_case(folder: Path, number: int) -> dict[str, str]:
    """A CT of 20 × 18 × 12 voxels of 3 × 2.5 × 4 mm and its label; all files have one size."""
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


def test_a_case_is_the_same_without_a_cache_when_it_is_written_and_when_it_is_read(cases, cache):
    fresh, cold, warm = dataset(cases, None), dataset(cases, cache), dataset(cases, cache)
    assert fresh.store is None and counts(cold) == (0, 3) and counts(warm) == (3, 0)
    for number, case in enumerate(cases):
        assert_same(preprocessed(cold, number), preprocessed(warm, number))
        assert_same(preprocessed(fresh, number), preprocessed(warm, number), fresh=True)
        assert preprocessed(warm, number)["image"].meta["filename_or_obj"] == case["image"]


@pytest.mark.parametrize("part", ["train#deterministic_transforms", "validate#preprocessing"])
def test_what_was_read_can_be_inverted(cases, cache, part):
    grids = []
    for _ in ("written", "read"):
        data = PersistentCacheDataset(cases, preprocessing(part), cache_dir=cache)
        item = data[0] | {"pred": data[0]["label"].clone()}
        grids.append(Invertd("pred", data.transform, "label", nearest_interp=True)(item)["pred"])
    assert counts(data) == (3, 0)
    label = nib.load(cases[0]["label"])
    assert grids[0].shape[1:] == label.shape and np.allclose(grids[0].affine, label.affine)
    assert torch.equal(*grids) and grids[0].sum() > 100


def overwrite(path: str, other: str) -> None:
    """Content of another file of the same size; the time of the last change is put back."""
    status = os.stat(path)
    shutil.copyfile(other, path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (status.st_size, status.st_mtime_ns) == (os.stat(path).st_size, os.stat(path).st_mtime_ns)


@pytest.mark.parametrize("key", ["image", "label"])
def test_changed_content_is_preprocessed_anew(cases, cache, key):
    dataset(cases, cache)
    overwrite(cases[0][key], write_case(cache.parent, 99)[key])
    again = dataset(cases, cache)
    assert counts(again) == (2, 1)
    assert_same(preprocessed(dataset(cases, None)), preprocessed(again), fresh=True)
    assert counts(dataset(cases, cache)) == (3, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"pixdim": [2.0, 2.0, 2.5]},
        {"intensity_range": [-125, 276]},
        {"roi_size": [16, 16, 32]},
        {"train#deterministic_transforms#2#mode": ["bilinear", "bilinear"]},
        {"train#deterministic_transforms#4#_disabled_": True},
    ],
)
def test_changed_preprocessing_is_done_anew(cases, cache, change):
    dataset(cases, cache)
    again = dataset(cases, cache, **change)
    assert counts(again) == (0, 3)
    assert_same(preprocessed(dataset(cases, None, **change)), preprocessed(again), fresh=True)
    assert counts(dataset(cases, cache)) == (3, 0)  # and what there was before stays


def test_random_transforms_do_not_count_and_used_transforms_are_the_same(cases, cache):
    transform = preprocessing()
    PersistentCacheDataset(cases, transform, cache_dir=cache)
    assert counts(PersistentCacheDataset(cases, transform, cache_dir=cache)) == (3, 0)
    other = {"train#random_transforms#0#random_center": False}
    assert counts(dataset(cases, cache, **other)) == (3, 0)


def test_a_copy_elsewhere_shares_the_entry_and_keeps_its_own_path(cases, cache, tmp_path):
    cold = dataset(cases[:1], cache)
    moved = {key: shutil.copy(path, tmp_path / f"other_{key}.nii") for key, path in cases[0].items()}
    warm = dataset([{key: str(path) for key, path in moved.items()}], cache)
    assert counts(warm) == (1, 0)
    assert preprocessed(warm)["label"].meta["filename_or_obj"] == str(tmp_path / "other_label.nii")
    assert torch.equal(preprocessed(warm)["image"], preprocessed(cold)["image"])
    # the other key's file is another case, and so is a case without its label
    swapped = {"image": cases[0]["label"], "label": cases[0]["image"]}
    assert counts(dataset([swapped, {"image": cases[0]["image"]}], cache)) == (0, 2)


def test_each_slice_of_a_dicom_series_counts(cache, tmp_path):
    voxels = np.random.default_rng(0).integers(-200, 300, (20, 18, 12), dtype=np.int16)
    write_series(tmp_path / "series", voxels, np.diag([-3.0, 2.5, 4.0, 1.0]), "1.2.3")
    case = {"image": str(tmp_path / "series")}
    assert counts(dataset([case], cache)) == (0, 1)
    warm = dataset([case], cache)
    assert counts(warm) == (1, 0)
    assert_same(preprocessed(dataset([case], None)), preprocessed(warm), fresh=True)
    path = tmp_path / "series" / "slice005.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes(255 - byte for byte in content[-2:]))
    assert counts(dataset([case], cache)) == (0, 1)


def entry(cache: Path) -> Path:
    (path,) = cache.rglob("*.pt")
    return path


class Malicious:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def plant_zip(path: Path) -> None:
    torch.save({"key": f"{path.parent.name}/{path.stem}", "item": Malicious(path.parents[2] / "canary")}, path)


def plant_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"key": path.stem, "item": Malicious(path.parents[2] / "canary")}))


def plant_another(path: Path) -> None:
    torch.save({"key": f"another/{path.stem}", "item": {"image": torch.zeros(3)}}, path)


@pytest.mark.parametrize(
    "damage", [truncate, flip, plant_zip, plant_pickle, plant_another, lambda path: path.write_bytes(b"")]
)
def test_what_is_damaged_or_malicious_is_made_anew_and_never_run(cases, cache, caplog, damage):
    first = preprocessed(dataset(cases[:1], cache))
    damage(entry(cache))
    again = dataset(cases[:1], cache)
    assert f"{entry(cache)} cannot be read and is made anew" in caplog.text
    assert not (cache.parent / "canary").exists()
    assert counts(again) == (0, 1)
    assert_same(first, preprocessed(again))
    assert counts(dataset(cases[:1], cache)) == (1, 0)


def fill(cases, cache, start=None, limit: int | None = None) -> None:
    """In a process of its own: fills the cache and dies with an error unless the cases are right."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if start is not None:
        start.wait()
    filled = dataset(cases, cache)
    for number in range(len(cases)):
        assert_same(preprocessed(dataset(cases[number : number + 1], None)), preprocessed(filled, number), fresh=True)


def test_processes_fill_one_cache_at_the_same_time(cache, tmp_path):
    cases = [write_case(tmp_path, number) for number in range(12)]
    start = fork.Barrier(3)
    processes = [fork.Process(target=fill, args=(cases, cache, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(cache.rglob("*.pt"))) == 12 and not list(cache.rglob(f"*{NEW}*"))
    assert counts(dataset(cases, cache)) == (12, 0)


def test_a_process_killed_while_it_fills_leaves_whole_entries(cache, tmp_path):
    cases = [write_case(tmp_path, number) for number in range(12)]
    for number in range(3):
        process = fork.Process(target=fill, args=(cases, cache))
        process.start()
        while process.is_alive() and not list(cache.rglob(f"*{NEW}")):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    fill(cases, cache)


def test_what_killed_processes_left_is_removed_after_a_day(cases, cache):
    dataset(cases, cache)
    old, young = (entry.with_suffix(f".1{NEW}") for entry in sorted(cache.rglob("*.pt"))[:2])
    old.touch()
    young.touch()
    os.utime(old, (time.time() - STALE_SECONDS - 60,) * 2)
    dataset(cases, cache)
    assert young.exists() and not old.exists()


@pytest.mark.parametrize("where", ["file", "file/deeper", "/proc/cache"])
def test_a_folder_that_cannot_be_made_is_a_warning(cases, tmp_path, caplog, where):
    (tmp_path / "file").touch()
    data = dataset(cases, tmp_path / where)
    assert_same(preprocessed(dataset(cases, None)), preprocessed(data), fresh=True)
    (message,) = warnings_of(caplog)
    assert f"cannot keep preprocessed cases in {tmp_path / where}" in message and "--cache_dir" in message


def test_a_disk_that_is_full_is_a_warning(cases, cache, caplog):
    """The kernel's own error, half-way through an entry."""
    process = fork.Process(target=fill, args=(cases, cache, None, 20_000 + 2 * os.path.getsize(cases[0]["image"])))
    process.start()
    process.join(60)
    assert process.exitcode == 0 and not list(cache.rglob("*.pt")) and not list(cache.rglob(f"*{NEW}*"))
    store = CaseCache(cache, "nothing", keep_free=2**62)
    for case in cases:
        store.get(case, lambda: {"image": torch.zeros(1)})
    assert not list(cache.rglob("*.pt"))
    (message,) = warnings_of(caplog)
    assert f"cannot keep preprocessed cases in {cache}: " in message and "MB are free on its disk" in message


def test_a_folder_of_others_that_can_only_be_read_is_read(cases, cache, caplog):
    dataset(cases, cache)
    before = sorted((path, path.stat().st_mtime_ns) for path in cache.rglob("*"))
    assert counts(dataset(cases, cache)) == (3, 0)
    assert sorted((path, path.stat().st_mtime_ns) for path in cache.rglob("*")) == before
    assert not warnings_of(caplog)


def test_what_cannot_be_known_by_its_name_is_not_kept(cases, cache, caplog):
    steps = [LoadImaged(["image", "label"]), Lambda(lambda case: case)]
    data = PersistentCacheDataset(cases, Compose(steps), cache_dir=cache)
    assert "<lambda> cannot be found by its name" in caplog.text and not list(cache.rglob("*.pt"))
    assert preprocessed(data)["image"].shape == (20, 18, 12)


def test_a_format_that_may_keep_voxels_in_a_further_file_is_not_kept(cases, cache, tmp_path, caplog):
    np.save(tmp_path / "image.npy", np.zeros((20, 18, 12)))
    data = dataset([{"image": str(tmp_path / "image.npy")}, {"image": cases[1]["image"]}], cache)
    assert "image.npy is no .nii" in caplog.text and counts(data) == (0, 1)
    assert preprocessed(data)["image"].ndim == 4


def test_a_file_that_changes_while_it_is_preprocessed_is_not_kept(cases, cache):
    def change(case: dict) -> dict:
        shutil.copyfile(cases[1]["image"], case["image"])
        return {"image": torch.zeros(1)}

    store = CaseCache(cache, "nothing")
    store.get(cases[0], lambda: change(cases[0]))
    assert not list(cache.rglob("*.pt"))


def test_cases_that_are_not_in_memory_are_read_from_the_folder(cases, cache):
    data = PersistentCacheDataset(cases, preprocessing(), cache_rate=0.0, cache_dir=cache)
    whole = dataset(cases, None)
    for _ in range(2):
        for number in range(3):
            for each in (data, whole):
                each.transform.set_random_state(number)
            assert_same(data[number], whole[number])
    assert counts(data) == (3, 3)


def test_a_file_that_vanished_is_left_out_and_named_although_its_entry_is_there(cases, cache, caplog):
    dataset(cases, cache)
    os.unlink(cases[1]["image"])
    data = dataset(cases, cache, kind=FaultTolerantCacheDataset)
    assert f"{cases[1]} cannot be loaded now: FileNotFoundError" in caplog.text and counts(data) == (2, 0)
    assert data[0]["image"].shape == (1, 16, 16, 16)
    with pytest.raises(RuntimeError):
        data[1]


def trained(folder: Path, data: str, cache_dir: Path | None) -> tuple[dict, list[tuple[int, int]]]:
    """Weights after two iterations with half of the cases in memory, and what each dataset read and wrote."""
    scale = {"pixdim": [12] * 3, "roi_size": [16] * 3, "num_filters": 2, "num_workers": 0, "voxels_per_token": 4}
    places = {"dataset_dir": data, "case_list": "case_list.json", "ckpt_dir": str(folder), "output_dir": str(folder)}
    cache = {"cache_dir": str(cache_dir) if cache_dir else False, "cache_rate": 0.5}
    run = ConfigWorkflow(str(TRAIN), logging_file=False, max_iterations=2, **scale, **places, **cache)
    run.initialize()
    run.run()
    names = ["train#dataset", "train#unlabeled_dataset", "validate#dataset"] if cache_dir else []
    weights = {name: torch.load(folder / name, weights_only=True) for name in ("model.pt", "model_final.pt")}
    return weights, [counts(run.parser.get_parsed_content(name)) for name in names]


def test_training_is_the_same_to_the_bit(tmp_path):
    data = write_phantoms(tmp_path / "phantom", 1, 2, 1, 0, spacing=(12.0, 12.0, 12.0))
    without, _ = trained(tmp_path / "without", data, None)
    assert not list(tmp_path.rglob("*/recipe.json"))
    cold, first = trained(tmp_path / "cold", data, tmp_path / "cache")
    warm, second = trained(tmp_path / "warm", data, tmp_path / "cache")
    assert all(written > 0 for _, written in first) and all(read > 0 == written for read, written in second)
    assert_same(without, cold)
    assert_same(without, warm)


def test_enums_are_read_back_whatever_the_python_that_wrote_them(tmp_path, monkeypatch):
    """Python 3.11.0 to 3.11.3 pickles a member as a call of getattr, which weights_only refuses."""
    monkeypatch.setattr(SpaceKeys, "__reduce_ex__", lambda member, _: (getattr, (type(member), member.name)))
    torch.save(SpaceKeys.RAS, tmp_path / "enum.pt")
    assert torch.load(tmp_path / "enum.pt", weights_only=True) is SpaceKeys.RAS
