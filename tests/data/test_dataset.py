# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import os
import shutil

import pytest
import torch
from monai.transforms import Compose, LoadImaged, RandCoarseDropoutd, RandSpatialCropd
from support.cases import assert_same, counts, dataset, preprocessing, write_case

from scdl_components.data import CaseDataset, dicom, disk_cache
from scdl_components.errors import InputError


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


def test_cases_are_read_anew_with_other_code_for_dicom(cases, cache, monkeypatch):
    before = dataset(cases, cache).disk.recipe
    assert dataset(cases, cache).disk.recipe == before
    path, hashed = dicom.__file__, disk_cache.file_hash
    monkeypatch.setattr(disk_cache, "file_hash", lambda file, *notes: "new" if file == path else hashed(file, *notes))
    assert dataset(cases, cache).disk.recipe != before


def test_augmentation_changes_crops_and_can_be_left_out(cases):
    """As crops they are plain tensors of the same size and types either way; an unlabeled case has an image alone."""
    crops, augmented = dataset(cases, None, augmentation=[]), dataset(cases, None)
    changed = []
    for seed in range(8):
        for data in (crops, augmented):
            data.transform.set_random_state(seed)
        before, after = crops[0], augmented[0]
        for key, dtype in (("image", torch.float32), ("label", torch.uint8)):
            assert (
                type(before[key]) is type(after[key]) is torch.Tensor and before[key].dtype == after[key].dtype == dtype
            )
            assert before[key].shape == after[key].shape
        assert set(after["label"].unique().tolist()) <= set(crops.memory[0]["label"].unique().tolist())
        changed.append(not torch.equal(before["image"], after["image"]))
    assert sum(changed) >= 4
    assert "label" not in dataset([{"image": cases[0]["image"]}], None)[0]


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


def test_a_file_that_vanished_is_left_out_and_named_although_its_entry_is_there(cases, cache, caplog):
    unlabeled = [{"image": case["image"]} for case in cases]
    for data in (unlabeled, cases):
        dataset(data, cache)
    os.unlink(cases[1]["image"])
    data = dataset(unlabeled, cache)
    assert f"{unlabeled[1]} cannot be loaded: MissingFileError" in caplog.text and counts(data) == (2, 0)
    assert data[0]["image"].shape == (1, 16, 16, 16)
    with pytest.raises(RuntimeError):
        data[1]
    with pytest.raises(InputError, match=r"labeled case .*1\.nii.* cannot be loaded: MissingFile"):
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
