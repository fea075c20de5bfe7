# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Inference inputs: what a path stands for."""

from pathlib import Path

import pytest
from pydicom.fileset import FileSet
from support.dicom import write_series

from scdl_components.data.inputs import list_images
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
    (crops.folder / "img/a_seg.dcm").write_bytes(bytes(128) + b"DICM")
    (crops.folder / "img/b_seg.json").write_text('{"acquired": 2020}')
    assert names(list_images(crops.folder / "img")) == ["a.nii.gz", "b_seg.nii.gz", "c_seg.nii.gz"]


def test_folder_of_series(crops):
    for number in (1, 2):
        write_series(
            crops.folder / "study" / f"series{number}", crops.voxels(number)[0], crops.affine, f"1.2.3.{number}"
        )
    (crops.folder / "study" / "series1" / "slice010.dcm").unlink()  # told when its turn comes, which stops no other
    assert names(list_images(crops.folder / "study")) == ["series1", "series2"]


def test_a_patients_studies_and_their_series(crops):
    """As on the disks that hospitals hand out, with a DICOMDIR in the first folder; no deeper."""
    names_of_series = ["study1/1.3.6.1", "study1/1.3.6.2", "study2/1.3.6.3"]
    for number, name in enumerate(names_of_series, start=1):
        write_series(crops.folder / "disk/patient" / name, crops.voxels(number)[0], crops.affine, f"1.3.6.{number}")
    (crops.folder / "index").mkdir()
    FileSet().write(crops.folder / "index")
    (crops.folder / "index" / "DICOMDIR").rename(crops.folder / "disk" / "DICOMDIR")
    expected = [{"image": str(crops.folder / "disk/patient" / name)} for name in names_of_series]
    assert list_images(crops.folder / "disk") == list_images(crops.folder / "disk/patient") == expected
    (crops.folder / "a/b/c").mkdir(parents=True)
    (crops.folder / "disk").rename(crops.folder / "a/b/c/disk")
    with pytest.raises(InputError, match="a' holds no image.* 3 folders deep, for DICOM series"):
        list_images(crops.folder / "a")


def test_nifti_beside_dicom_is_refused(crops, series):
    crops.write(f"{series.name}/result.nii.gz", crops.voxels(1)[1])
    with pytest.raises(InputError, match="which of them is the input"):
        list_images(series)


def test_single_dicom_file_points_to_its_folder(series):
    with pytest.raises(InputError, match="single DICOM file; give the folder"):
        list_images(next(series.glob("*.dcm")))
