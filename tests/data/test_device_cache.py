# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import CacheDataset, Dataset, MetaTensor
from monai.transforms import Compose, Identityd

from scdl_components.data import TwoStreamLoader
from scdl_components.data.device_cache import cache_on_device, move_cache, volume_bytes
from scdl_components.errors import InputError, causes


def volumes(number: int, **kwargs) -> CacheDataset:
    cases = [{"image": MetaTensor(torch.rand(1, 4, 4, 4)), "label": torch.ones(1, 4, 4, 4).byte(), "name": "a"}] * number
    return CacheDataset(cases, Compose([Identityd("image")]), progress=False, **kwargs)


def test_bytes_of_a_case_are_those_of_its_tensors():
    assert volume_bytes(volumes(1)._cache[0]) == 64 * 4 + 64


def test_a_moved_cache_gives_cases_on_the_device():
    data = volumes(2)
    affine = data[0]["image"].affine
    move_cache([data], "meta")  # the one device besides the CPU that is everywhere
    assert [data[i][key].device.type for i in (0, 1) for key in ("image", "label")] == ["meta"] * 4
    assert data[0]["name"] == "a"
    assert isinstance(data[0]["image"], MetaTensor) and data[0]["image"].affine.shape == affine.shape


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with 1,000 bytes free, as far as the decision looks; volumes go to "meta"."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    monkeypatch.setattr("scdl_components.data.device_cache.move_cache", lambda sets, device: move_cache(sets, "meta"))
    return torch.device("cuda", 0)


@pytest.mark.parametrize("number, fits", [(1, True), (2, False)])
def test_volumes_move_together_or_not_at_all(gpu, number, fits, caplog):
    datasets = [volumes(1), volumes(number - 1)] if number > 1 else [volumes(1)]
    with caplog.at_level("INFO"):
        assert cache_on_device(datasets, gpu) is fits
    assert {data[0]["image"].device.type for data in datasets} == {"meta" if fits else "cpu"}
    assert ("on cuda:0" if fits else "in main memory") in caplog.text


@pytest.mark.parametrize("training, fits", [(600, True), (700, False), (None, True)])
def test_what_training_needs_stays_free(gpu, training, fits):
    assert cache_on_device([volumes(1)], gpu, lambda: training) is fits  # 320 of 1,000 bytes


def test_a_crop_on_a_device_copies_no_volume(gpu):
    data = volumes(1)
    assert cache_on_device([data], gpu)
    assert data[0]["label"] is data._cache[0]["label"]


@pytest.mark.parametrize(
    "reason, wanted", [("CUDA out of memory. Tried to allocate 2 GiB", True), ("bad magic number", False)]
)
def test_what_a_gpu_lacks_is_no_fault_of_a_file(reason, wanted):
    def fail(item):
        raise torch.cuda.OutOfMemoryError(reason) if wanted else OSError(reason)

    data = CacheDataset(volumes(1).data, Compose([Identityd("image"), fail]), cache_rate=0.0, progress=False)
    loader = TwoStreamLoader(data, unlabeled_batch_size=0, num_workers=0)
    with pytest.raises(Exception) as raised:
        next(iter(loader))
    assert any(isinstance(error, torch.cuda.OutOfMemoryError) for error in causes(raised.value)) is wanted
    assert isinstance(raised.value, InputError) is not wanted


def test_what_is_not_all_in_memory_stays(gpu):
    assert not cache_on_device([volumes(2, cache_rate=0.5)], gpu)
    assert not cache_on_device([volumes(1), Dataset([1])], gpu)
    assert not cache_on_device([volumes(1)], "cpu")


def test_a_loader_of_volumes_on_a_device_works_in_the_training_process(gpu):
    loader = TwoStreamLoader(volumes(1), unlabeled_batch_size=0, num_workers=2, pin_memory=True, cache_device=gpu)
    assert loader.num_workers == 0 and not loader.pin_memory
    batch = next(iter(loader))["labeled"]
    assert batch["image"].device.type == "meta" and batch["image"].shape == (2, 1, 4, 4, 4)
