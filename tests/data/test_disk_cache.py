# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from support.dicom import write_series

from scdl_components.data.facts import VolumeFacts, read_facts
from scdl_components.data.input_check import InputCheck, facts_reader
from scdl_components.errors import InputError

MAX_VOXELS = 2**20


def assert_same(one: VolumeFacts, other: VolumeFacts) -> None:
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
    for _ in ("written", "kept"):
        reader = facts_reader(MAX_VOXELS, tmp_path / "cache")
        for path in paths:
            assert_same(read_facts(path, MAX_VOXELS), reader(path))
        assert len(entries(tmp_path / "cache")) == 3
    # the second time the volumes are not read: what stands in the entries is believed
    for entry in entries(tmp_path / "cache"):
        content = torch.load(entry, weights_only=True)
        content["minimum"] = -12345.0
        torch.save(content, entry)
    assert [facts_reader(MAX_VOXELS, tmp_path / "cache")(path).minimum for path in paths] == [-12345.0] * 3
    assert facts_reader(10, tmp_path / "cache")(paths[0]).failure  # another limit is another question


def test_a_changed_file_is_read_again(crops, tmp_path):
    cases = [crops.case(number) for number in (1, 2)]
    check = InputCheck(crops.organs, cases, progress=False, cache_dir=tmp_path / "cache")
    check.run()
    path = cases[0]["label"].removesuffix(".gz")
    label = nib.load(cases[0]["label"])
    voxels = np.array(label.dataobj)
    nib.save(nib.Nifti1Image(voxels, label.affine), path)  # not compressed, so that no byte more or less is needed
    cases[0]["label"] = path
    check.run()
    before = os.stat(path)
    voxels[0, 0, 0] = 99
    nib.save(nib.Nifti1Image(voxels, label.affine), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_size == before.st_size
    with pytest.raises(InputError, match="99"):
        check.run()


def test_failures_are_not_kept_and_are_told_as_ever(crops, tmp_path):
    path = crops.case(1)["image"]
    Path(path).write_bytes(Path(path).read_bytes()[:1000])
    os.mkfifo(tmp_path / "pipe.nii.gz")
    for bad in (path, str(tmp_path / "nothing.nii"), str(tmp_path / "pipe.nii.gz")):
        facts = facts_reader(MAX_VOXELS, tmp_path / "cache")(bad)
        assert facts.failure and facts.failure == read_facts(bad, MAX_VOXELS).failure
    assert not entries(tmp_path / "cache")
