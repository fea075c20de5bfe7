# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inference inputs: what a path stands for, and DICOM series as MONAI reads them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import PydicomReader
from monai.transforms import LoadImaged

from support.dicom import write_series

from scdl_components.data.inputs import list_images, series_problems
from scdl_components.errors import InputError


@pytest.fixture
def series(crops) -> Path:
    folder = crops.folder / "the scan's $1 (é)"
    write_series(folder, crops.voxels(1)[0], crops.affine, "1.2.3.1")
    return folder


def names(items: list[dict[str, str]]) -> list[str]:
    assert all(list(item) == ["image"] and Path(item["image"]).is_absolute() for item in items)
    return [Path(item["image"]).name for item in items]


def test_files_and_folders(crops):
    case = crops.case(2)
    other = crops.write("img/b.nii", crops.voxels(1)[0])
    (crops.folder / "img/._b.nii").touch()
    (crops.folder / "img/notes.txt").write_text("x")
    assert list_images(case["image"]) == [{"image": case["image"]}]
    assert names(list_images(crops.folder / "img")) == ["b.nii", "img0002.nii.gz"]
    # a data set's folder: its images, never its labels
    assert names(list_images(crops.folder)) == ["b.nii", "img0002.nii.gz"]
    assert names(list_images([other, crops.folder / "img", case["label"]])) == [
        "b.nii",
        "img0002.nii.gz",
        "label0002.nii.gz",
    ]
    assert names(list_images(crops.folder, suffixes=(".nii",))) == ["b.nii"]


def test_relative_path(crops, monkeypatch):
    case = crops.case(1)
    monkeypatch.chdir(crops.folder)
    assert list_images("img") == [{"image": case["image"]}]


def test_what_is_no_input_is_named(crops):
    (crops.folder / "empty").mkdir()
    (crops.folder / "a.txt").write_text("x")
    with pytest.raises(InputError) as error:
        list_images([crops.folder / "absent.nii.gz", crops.folder / "empty", crops.folder / "a.txt"])
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "absent.nii.gz' does not exist" in lines[0]
    assert "empty' holds no image" in lines[1]
    assert "a.txt' is no image" in lines[2]
    with pytest.raises(InputError, match="no input"):
        list_images([])


def test_a_folder_for_each_patient(crops):
    """TotalSegmentator's layout: the images, not the segmentations."""
    for name in ("s1/ct.nii.gz", "s2/ct.nii.gz", "s2/liver.nii.gz", "s1/segmentations/liver.nii.gz", "label/a.nii.gz"):
        crops.write(name, crops.voxels(1)[0])
    assert list_images(crops.folder) == [{"image": str(crops.folder / name / "ct.nii.gz")} for name in ("s1", "s2")]


def test_our_own_results_are_no_images(crops):
    for name in ("a.nii.gz", "a_seg.nii.gz", "b_seg.nii.gz", "c_seg.nii.gz"):
        crops.write(f"img/{name}", crops.voxels(1)[0])
    (crops.folder / "img/a_seg.json").write_text('{"segmentation": "a_seg.nii.gz"}')
    (crops.folder / "img/b_seg.json").write_text('{"acquired": 2020}')
    assert names(list_images(crops.folder / "img")) == ["a.nii.gz", "b_seg.nii.gz", "c_seg.nii.gz"]


def test_dicom_series_equals_the_nifti(crops, series):
    (series / "README.txt").write_text("not DICOM")
    items = list_images(series)
    assert items == [{"image": str(series)}]
    volume = LoadImaged("image", reader=PydicomReader(), image_only=True)(items[0])["image"]
    np.testing.assert_array_equal(volume.numpy(), crops.voxels(1)[0])
    np.testing.assert_allclose(volume.affine.numpy(), crops.affine, atol=1e-4)


def test_dicom_and_nifti_by_monais_own_choice_of_reader(crops, series):
    """Without a reader named, LoadImaged takes the right one for a series folder and for a NIfTI file."""
    load = LoadImaged("image", image_only=True)
    nifti = load({"image": crops.write("a.nii.gz", crops.voxels(1)[0])})["image"]
    dicom = load(list_images(series)[0])["image"]
    np.testing.assert_array_equal(dicom.numpy(), nifti.numpy())
    np.testing.assert_allclose(dicom.affine.numpy(), nifti.affine.numpy(), atol=1e-4)


def test_oblique_anisotropic_series(crops):
    angle = np.deg2rad(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = nib.affines.from_matvec(rotation @ np.diag([0.8, 0.7, 2.5]), [-100, 30, 50])
    write_series(crops.folder / "oblique", crops.voxels(0)[0], affine, "1.2.3.9")
    volume = LoadImaged("image", reader=PydicomReader(), image_only=True)(list_images(crops.folder)[0])["image"]
    np.testing.assert_array_equal(volume.numpy(), crops.voxels(0)[0])
    np.testing.assert_allclose(volume.affine.numpy(), affine, atol=1e-4)


def test_orientation_that_monai_would_ignore(crops, series):
    """Numbers of more than 16 characters are frequent and not allowed; MONAI then takes the identity as orientation."""
    for path in series.glob("*.dcm"):
        content = path.read_bytes()
        start = content.index(b"\x20\x00\x37\x00DS")
        length = int.from_bytes(content[start + 6 : start + 8], "little")
        value = b"-1.0000000000000000000\\0\\0\\0\\-1\\0 "
        new = content[: start + 6] + len(value).to_bytes(2, "little") + value + content[start + 8 + length :]
        path.write_bytes(new)
    with pytest.warns(UserWarning, match="defaults to the identity"):
        volume = LoadImaged("image", reader=PydicomReader(), image_only=True)({"image": str(series)})["image"]
    assert not np.allclose(volume.affine.numpy(), crops.affine)
    assert "would ignore ImageOrientationPatient" in series_problems(str(series))[0]


def test_folder_of_series(crops):
    for number in (1, 2):
        write_series(
            crops.folder / "study" / f"series{number}", crops.voxels(number)[0], crops.affine, f"1.2.3.{number}"
        )
    assert names(list_images(crops.folder / "study")) == ["series1", "series2"]


def test_mixed_series_are_refused(crops, series):
    write_series(series, crops.voxels(2)[0], crops.affine, "1.2.3.2", prefix="other")
    with pytest.raises(InputError, match=r"holds 2 DICOM series: 1\.2\.3\.2 \(24 files\), 1\.2\.3\.1 \(24 files\)"):
        list_images(series)


def test_nifti_beside_dicom_is_refused(crops, series):
    crops.write(f"{series.name}/result.nii.gz", crops.voxels(1)[1])
    with pytest.raises(InputError, match="which of them is the input"):
        list_images(series)


def test_single_dicom_file_points_to_its_folder(series):
    with pytest.raises(InputError, match="single DICOM file; give the folder"):
        list_images(next(series.glob("*.dcm")))


def test_missing_slice(series):
    (series / "slice010.dcm").unlink()
    assert "not evenly spaced" in series_problems(str(series))[0]


def test_slice_twice(series):
    (series / "again.dcm").write_bytes((series / "slice010.dcm").read_bytes())
    assert "not evenly spaced" in series_problems(str(series))[0]


def test_slice_of_another_size(crops, series):
    write_series(series, crops.voxels(1)[0][:50, :, :1], crops.affine, "1.2.3.1", prefix="scout")
    assert "differ in size" in series_problems(str(series))[0]


def test_single_slice_and_damaged_slice(series):
    *rest, last = sorted(series.glob("*.dcm"))
    for path in rest:
        path.unlink()
    assert "holds 1 DICOM slice" in series_problems(str(series))[0]
    last.write_bytes(last.read_bytes()[:140])
    assert str(series) in series_problems(str(series))[0]


def test_folder_name_that_monai_takes_as_a_wildcard(crops):
    folder = crops.folder / "series [1]"
    write_series(folder, crops.voxels(1)[0], crops.affine, "1.2.3.1")
    with pytest.raises(InputError, match="rename the folder"):
        list_images(folder)
