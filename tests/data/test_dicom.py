# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series: voxels and geometry as they were written, or the reason why not."""

import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.fileset import FileSet
from pydicom.uid import SegmentationStorage
from support.dicom import decimals, write_series

from scdl_components.data.dicom import read_series, series_modality
from scdl_components.data.facts import read_facts
from scdl_components.errors import UnreadableError

ORDER = np.random.default_rng(0).permutation(24)
NUMBERS = [lambda k: 1, lambda k: int(ORDER[k]), lambda k: 24 - k, lambda k: None]


@pytest.fixture
def series(crops) -> Path:
    folder = crops.folder / "the scan's $1 [é]*"
    write_series(folder, crops.voxels(1)[0], crops.affine, "1.2.3.1")
    return folder


def edit(path: Path, **tags: object) -> None:
    """Sets tags of a DICOM file."""
    header = pydicom.dcmread(path)
    for tag, value in tags.items():
        setattr(header, tag, value)
    header.save_as(path)


def assert_reads(folder: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """The same voxels at the same places; a series read from its other end is stored in the other direction."""
    found, meta = read_series(str(folder))
    image, expected = (
        nib.as_closest_canonical(nib.Nifti1Image(*pair))
        for pair in ((found, meta["affine"]), (voxels.astype(np.float32), affine))
    )
    np.testing.assert_array_equal(image.dataobj, expected.dataobj)
    np.testing.assert_allclose(image.affine, expected.affine, atol=1e-4)


@pytest.mark.parametrize("number", NUMBERS, ids=["same", "shuffled", "reversed", "none"])
def test_slices_are_ordered_by_position(crops, number):
    write_series(crops.folder / "series", crops.voxels(1)[0], crops.affine, "1.2.3.1", number=number)
    assert_reads(crops.folder / "series", crops.voxels(1)[0], crops.affine)


def test_slices_written_from_the_other_end(crops):
    affine = crops.affine @ np.diag([1.0, 1.0, -1.0, 1.0])
    write_series(crops.folder / "series", crops.voxels(1)[0], affine, "1.2.3.1")
    assert_reads(crops.folder / "series", crops.voxels(1)[0], affine)


def test_oblique_and_sheared_series(crops):
    angle = np.deg2rad(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    oblique = nib.affines.from_matvec(rotation @ np.diag([0.8, 0.7, 2.5]), [-100, 30, 50])
    tilted = oblique.copy()
    tilted[:3, 2] = (0, 0, 2.5)  # slices move along the table, the gantry leans
    for name, affine in (("oblique", oblique), ("tilted", tilted)):
        write_series(crops.folder / name, crops.voxels(0)[0], affine, "1.2.3.9", number=lambda k: 1)
        assert_reads(crops.folder / name, crops.voxels(0)[0], affine)


@pytest.mark.filterwarnings("ignore")  # pydicom's, of the values
@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_numbers_longer_than_the_standard_allows(crops, series, tag):
    for path in series.iterdir():
        values = [f"{float(value):.20f}" for value in pydicom.dcmread(path)[tag].value]
        header = pydicom.dcmread(path)
        header[tag] = DataElement(tag, "DS", values, validation_mode=IGNORE)
        header.save_as(path)
        assert all(len(value.original_string) > 16 for value in pydicom.dcmread(path)[tag].value)
    assert_reads(series, crops.voxels(1)[0], crops.affine)


def test_rescaling_of_each_slice(crops, series):
    for path in list(series.iterdir())[::2]:
        header = pydicom.dcmread(path)
        edit(path, RescaleIntercept=-1900, PixelData=(header.pixel_array - 100).tobytes())
    assert_reads(series, crops.voxels(1)[0], crops.affine)


def test_other_files_are_passed_over(crops, series):
    (series / "README.txt").write_text("not DICOM")
    (series / "._slice001.dcm").write_text("of a Mac")
    (series / "more").mkdir()
    FileSet().write(series / "more")
    (series / "more" / "DICOMDIR").rename(series / "DICOMDIR")
    segmentation = pydicom.dcmread(next(series.glob("*.dcm")))
    segmentation.file_meta.MediaStorageSOPClassUID = segmentation.SOPClassUID = SegmentationStorage
    segmentation.SeriesInstanceUID, segmentation.Modality = "1.2.3.9", "SEG"
    segmentation.save_as(series / "a_seg.dcm")
    assert_reads(series, crops.voxels(1)[0], crops.affine)


def test_modality(series, tmp_path):
    assert series_modality(str(series)) == "CT"
    for path in series.iterdir():
        edit(path, Modality="MR")
    assert series_modality(str(series)) == "MR"
    assert series_modality(str(tmp_path)) == ""


def delete(path: Path) -> None:
    path.unlink()


def copy(path: Path) -> None:
    (path.parent / "again.dcm").write_bytes(path.read_bytes())


def move(path: Path) -> None:
    """5 mm to the side: the distances along the normal stay even."""
    x, y, z = pydicom.dcmread(path).ImagePositionPatient
    edit(path, ImagePositionPatient=decimals(np.array([x + 5, y, z])))


def lose_half(path: Path) -> None:
    """Every second slice of one half, as of a series of two spacings."""
    for k in range(2, 12, 2):
        (path.parent / f"slice{24 - k:03d}.dcm").unlink()


def leave_one(path: Path) -> None:
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()


def to_second_series(path: Path) -> None:
    edit(path, SeriesInstanceUID="1.2.3.2", Modality="SR")


def without_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])
    path.rename(path.parent / "no suffix")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    # slice 14 of 24, whose name counts down
    (delete, r"after 'slice011.dcm' the next one, 'slice009.dcm', lies 6 mm away, not 3 mm \(1 of 22 distances"),
    (lose_half, r"not evenly spaced: after 'slice023.dcm' the next one, 'slice021.dcm', lies 6 mm away, not 3 mm"),
    (copy, "several slices of one place, 1 in all, for example 'again.dcm' and 'slice010.dcm'"),
    (move, "not evenly spaced: after 'slice011.dcm' the next one, 'slice010.dcm', lies 5.831 mm away"),
    (leave_one, r"holds 1 DICOM slice\(s\)"),
    (to_second_series, r"holds 2 DICOM series: 1\.2\.3\.1 \(CT, 23 files\), 1\.2\.3\.2 \(SR, 1 files\)"),
    (lambda path: edit(path, Rows=50), "'slice001.dcm' and 'slice010.dcm' differ in size"),
    (lambda path: edit(path, PixelSpacing=["1", "1"]), "'slice010.dcm' differ in size, pixel spacing or orientation"),
    (lambda path: edit(path, ImageOrientationPatient=decimals(np.eye(3)[[2, 0]].ravel())), "'slice010.dcm' differ in"),
    (lambda path: edit(path, NumberOfFrames=2), "'slice010.dcm' is multi-frame"),
    (lambda path: edit(path, ImagePositionPatient=None), "'slice010.dcm' has no ImagePositionPatient"),
    (lambda path: edit(path, ImagePositionPatient=["nan", "0", "0"]), "is not finite"),
    (lambda path: path.write_bytes(b""), "'slice010.dcm' cannot be read as DICOM"),
    (without_preamble, "'no suffix' cannot be read as DICOM"),
    (lambda path: path.write_bytes(path.read_bytes()[:140]), "'slice010.dcm' has no SeriesInstanceUID"),
    (lambda path: path.write_bytes(path.read_bytes()[:-100]), "that MONAI cannot load"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
@pytest.mark.filterwarnings("ignore")  # pydicom's
def test_what_is_no_volume_is_refused_by_name(crops, fault, reason):
    folder = crops.folder / "series"
    write_series(folder, crops.voxels(1)[0], np.diag([-3.0, -3.0, 3.0, 1.0]), "1.2.3.1", number=lambda k: 1)
    fault(folder / "slice010.dcm")
    with pytest.raises(UnreadableError, match=reason):
        read_series(str(folder))
    assert re.search(reason, read_facts(str(folder)).failure)


@pytest.mark.parametrize(("share", "reads"), [(0.2, True), (0.3, False)])
def test_a_slice_may_lie_a_quarter_of_the_distance_off(crops, share, reads):
    folder = crops.folder / "series"
    write_series(folder, crops.voxels(1)[0], np.diag([-3.0, -3.0, 3.0, 1.0]), "1.2.3.1")
    x, y, z = pydicom.dcmread(folder / "slice010.dcm").ImagePositionPatient
    edit(folder / "slice010.dcm", ImagePositionPatient=decimals(np.array([x, y, z + share * 3])))
    if reads:
        assert read_series(str(folder))[0].shape == crops.voxels(1)[0].shape
    else:
        with pytest.raises(UnreadableError, match="not evenly spaced"):
            read_series(str(folder))


def test_directions_that_are_not_perpendicular(series):
    for path in series.iterdir():
        edit(path, ImageOrientationPatient=["1", "0", "0", "1", "0", "0"])
    with pytest.raises(UnreadableError, match="no pair of perpendicular directions"):
        read_series(str(series))
