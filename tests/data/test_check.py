# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Input checks: every planted fault is found in one report that names the file; sound data raises no alarm."""

import gzip
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import EnsureChannelFirst, LoadImage
from support.crops import Crops
from support.dicom import write_series

from scdl_components.data.grid import grid_distance
from scdl_components.data.input_check import InputCheck
from scdl_components.errors import InputError


def report_of(organs: list[str], **kwargs: object) -> list[str]:
    with pytest.raises(InputError) as error:
        InputCheck(organs, **kwargs).run()
    return str(error.value).splitlines()[1:]


def errors_about(path: str, report: list[str]) -> list[str]:
    return [line for line in report if line.startswith(f"ERROR: {path}: ")]


def voxels_of(path: str) -> np.ndarray:
    return np.array(nib.load(path).dataobj)


def patch_header(path: str, offset: int, layout: str, *values: float) -> None:
    """Overwrite bytes of the NIfTI-1 header; offsets as in nifti1.h."""
    content = bytearray(gzip.decompress(Path(path).read_bytes()))
    struct.pack_into(layout, content, offset, *values)
    Path(path).write_bytes(gzip.compress(bytes(content)))


def with_two_affines(path: str, qform: np.ndarray) -> None:
    """Give a file a qform of its own; its sform, by which nibabel goes, stays."""
    image = nib.load(path)
    sform = image.affine
    image = nib.Nifti1Image(np.array(image.dataobj), None, image.header)
    image.set_sform(sform, 1)
    image.set_qform(qform, 1)
    image.header.set_zooms(nib.affines.voxel_sizes(qform))
    nib.save(image, path)


def test_good_data_passes_without_a_warning(crops):
    lists = {
        "labeled": [crops.case(1), crops.case(2)],
        "unlabeled": [{"image": crops.case(3)["image"]}],
        "validation": [crops.case(4)],
        "test": [{"image": crops.case(5)["image"]}, crops.case(6)],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = InputCheck(crops.organs, **lists).run()
    assert [case.list_name for case in facts] == ["labeled"] * 2 + ["unlabeled", "validation"] + ["test"] * 2
    image, label = crops.voxels(1)
    assert (facts[0].image.minimum, facts[0].image.maximum) == (image.min(), image.max())
    assert facts[0].image.shape == image.shape
    np.testing.assert_allclose(facts[0].image.spacing, 3)
    assert facts[0].label.organ_voxels(crops.organs) == {
        organ: np.count_nonzero(label == value) for value, organ in enumerate(crops.organs, start=1)
    }
    assert facts[2].label is None


def test_other_sound_encodings_pass(crops):
    """Big-endian, float, scaled, NIfTI-2, uncompressed, a trailing axis of one, labels as float: all of them sound."""
    items = []
    for number, (dtype, header_class) in enumerate(
        [(">i2", nib.Nifti1Image), ("<f4", nib.Nifti2Image), (">f8", nib.Nifti1Image)], start=1
    ):
        image, label = crops.voxels(number)
        item = {"image": str(crops.folder / f"{number}.nii"), "label": str(crops.folder / f"{number}_label.nii.gz")}
        header = header_class.header_class(endianness=">" if dtype[0] == ">" else "<")
        header.set_data_dtype(dtype)
        nib.save(header_class(image[..., None].astype(dtype), crops.affine, header), item["image"])
        nib.save(header_class(label.astype(np.float32), crops.affine), item["label"])
        items.append(item)
    scaled = nib.Nifti1Image(crops.voxels(4)[0].astype(np.float64) / 2, crops.affine)
    scaled.header.set_data_dtype(np.int16)
    items.append({"image": str(crops.folder / "4.nii.gz"), "label": crops.write("4_label.nii.gz", crops.voxels(4)[1])})
    nib.save(scaled, items[-1]["image"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = InputCheck(crops.organs, items).run()
    for number, case in enumerate(facts, start=1):
        image = crops.voxels(number)[0] / (2 if number == 4 else 1)
        assert case.image.shape == image.shape
        np.testing.assert_allclose((case.image.minimum, case.image.maximum), (image.min(), image.max()), atol=0.05)
    # MONAI, too, makes one channel of the trailing axis
    assert EnsureChannelFirst()(LoadImage()(items[0]["image"])).shape == (1, *crops.voxels(1)[0].shape)


Plant = Callable[[Crops, dict[str, str]], None]


def file(change: Callable[[bytes], bytes]) -> Plant:
    """Other bytes in the image's file."""
    return lambda crops, item: Path(item["image"]).write_bytes(change(Path(item["image"]).read_bytes()))


def content(change: Callable[[bytes], bytes]) -> Plant:
    """Other bytes before compression."""
    return file(lambda packed: gzip.compress(change(gzip.decompress(packed))))


def header(offset: int, layout: str, *values: float) -> Plant:
    return lambda crops, item: patch_header(item["image"], offset, layout, *values)


def values(change: Callable[[np.ndarray], np.ndarray], key: str = "image") -> Plant:
    return lambda crops, item: crops.write(item[key], change(voxels_of(item[key])))


def affine(change: Callable[[np.ndarray], np.ndarray], *keys: str) -> Plant:
    def plant(crops: Crops, item: dict[str, str]) -> None:
        for key in keys:
            crops.write(item[key], voxels_of(item[key]), change(crops.affine.copy()))

    return plant


def with_values(array: np.ndarray, where: tuple, new: object, dtype: type) -> np.ndarray:
    array = array.astype(dtype)
    array[where] = new
    return array


def missing(crops, item):
    Path(item["image"]).unlink()


def folder_without_dicom(crops, item):
    missing(crops, item)
    Path(item["image"]).mkdir()


def pipe(crops, item):
    missing(crops, item)
    os.mkfifo(item["image"])


def extension_cut_off(nifti: bytes) -> bytes:
    """Readers skip by the length that an extension of the header announces."""
    nifti = bytearray(nifti)
    struct.pack_into("<f", nifti, 108, 368)
    nifti[348:352] = struct.pack("<4B2i8s", 1, 0, 0, 0, 1000, 6, b"comment ")
    return bytes(nifti)


def rgb(image: np.ndarray) -> np.ndarray:
    gray = image.clip(0, 255).astype(np.uint8)
    return np.stack([gray] * 3, -1).view([(c, "u1") for c in "RGB"])[..., 0]


def mirrored_qform(crops, item):
    with_two_affines(item["image"], crops.affine @ np.diag([-1, 1, 1, 1]))


def one_slice(crops, item):
    for path in item.values():
        crops.write(path, voxels_of(path)[:, :, :1])


IMAGE_FAULTS: list[tuple[Plant, str]] = [
    (missing, "does not exist"),
    (file(lambda packed: packed[: len(packed) * 2 // 3]), "truncated or damaged"),
    (file(lambda packed: packed[:-6]), "truncated or damaged"),
    # a bit of the checksum: the data would be read without a complaint
    (file(lambda packed: packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]), "truncated or damaged"),
    (file(lambda packed: b""), "is empty"),
    (file(lambda packed: gzip.compress(b"<html>Please log in</html>" * 50)), "is not a single-file NIfTI"),
    (file(gzip.decompress), "is not gzip-compressed, against its name"),
    (content(lambda nifti: nifti[:352]), "is cut off"),
    (folder_without_dicom, "holds 0 DICOM slice(s)"),
    (header(40, "<4h", 3, 32000, 32000, 32000), "announces 32000x32000x32000 voxels"),
    (header(40, "<4h", 3, 1000, 1000, 1000), "is cut off"),
    (header(108, "<f", 1e30), "voxels begin at byte 1e+30"),
    # readers disagree: nibabel refuses an offset within the header, but for 0, where it takes the header for voxels
    (header(108, "<f", 0), "voxels begin at byte 0 (vox_offset); expected 352"),
    (header(108, "<f", 348), "voxels begin at byte 348 (vox_offset); expected 352"),
    (content(extension_cut_off), "damaged header"),
    (header(108, "<f", np.nan), "damaged header"),
    (content(lambda nifti: nifti + bytes(2**23)), "far more data"),
    (header(40, "<4h", 3, 100, -80, 24), "has shape (100, -80, 24)"),
    (header(40, "<4h", 3, 100, 0, 24), "has shape (100, 0, 24)"),
    (header(70, "<h", 77), "damaged header"),
    (values(lambda image: np.stack([image] * 2, axis=-1)), "is 4-D, shape (100, 80, 24, 2)"),
    (values(lambda image: image[:, :, 0]), "expected a volume of three axes"),
    (values(lambda image: image.astype(np.complex64)), "has complex64 voxels"),
    (values(rgb), "has RGB voxels"),
    (values(lambda image: with_values(image, np.s_[3, 4, 5:7], (np.nan, np.inf), np.float32)), "has 2 NaN or infinite"),
    (values(lambda image: np.full_like(image, 40)), "is constant, all voxels are 40"),
    (values(lambda image: ((image.clip(-125, 275) + 125) / 400).astype(np.float32)), "are not HU"),
    (values(lambda image: (image // 10 - 900).astype(np.int16)), "are not HU"),  # all air
    (values(lambda image: (image.clip(-1000) + 2024).astype(np.int16)), "are not HU"),
    (values(lambda image: (image.clip(-1024) + 1024).astype(np.uint16)), "an offset of 1000 or 1024"),
    (values(lambda image: ((image.clip(-160, 240) + 160) * (255 / 400)).astype(np.uint8)), "grey values of a picture"),
    (values(lambda image: image.astype(np.uint16)), "are not HU"),
    (mirrored_qform, "its sform (3, 3, 3 mm RAS) and its qform (3, 3, 3 mm LAS)"),
    (header(80, "<3f", 1, 1, 1), "its sform (3, 3, 3 mm RAS) and its qform (1, 1, 1 mm RAS)"),
    (header(80, "<3f", 0, 0, 0), "has a voxel size of 0"),
    (pipe, "is no regular file"),
    (header(312, "<4f", 0, 0, 0, 0), "degenerate affine"),
    (header(280, "<f", np.nan), "degenerate affine"),
    (affine(lambda own: own[:, [0, 0, 2, 3]], "image"), "degenerate affine"),
    (affine(lambda own: np.diag([3000, 3000, 3000, 1]), "image", "label"), "has voxels of 3000, 3000, 3000 mm"),
    (affine(lambda own: np.diag([0.003] * 3 + [1]), "image", "label"), "has voxels of 0.003, 0.003, 0.003 mm"),
    (one_slice, "has one slice only"),
]


def test_every_image_fault_in_one_report(crops, record_property):
    """One case for each fault, among sound ones: each is named with its reason, and nothing else is."""
    image, label = crops.voxels(1)
    items = []
    for number, (plant, _) in enumerate(IMAGE_FAULTS):
        # a shift in HU makes the cases differ, so that none is a copy of another
        item = {
            "image": crops.write(f"img/{number}.nii.gz", image + np.int16(number)),
            "label": crops.write(f"label/{number}.nii.gz", label),
        }
        plant(crops, item)
        items.append(item)
    half = len(items) // 2
    lists = {"labeled": [crops.case(3), *items[:half]], "validation": [crops.case(4), *items[half:]]}
    report = report_of(crops.organs, **lists)
    for item, (_, expected) in zip(items, IMAGE_FAULTS, strict=True):
        lines = errors_about(item["image"], report)
        assert len(lines) == 1 and expected in lines[0], (expected, lines)
    # three of the faults are planted in the label as well; there is no other line
    assert len(report) == len(items) + 3
    record_property("faults planted and found", len(IMAGE_FAULTS) + len(LABEL_FAULTS))


def label_missing(crops, item):
    Path(item["label"]).unlink()


def label_not_given(crops, item):
    del item["label"]


def label_is_image(crops, item):
    item["label"] = item["image"]


def label_in_other_directions(crops, item):
    label = nib.Nifti1Image(crops.voxels(1)[1], crops.affine @ np.diag([1, 1, 1.001, 1]))
    nib.save(label.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])), item["label"])


def label_values(where: tuple, new: object, dtype: type) -> Plant:
    return values(lambda label: with_values(label, where, new, dtype), "label")


TABLE = "outside the organ table (0 background, 1 spleen, 2 left_kidney"
LABEL_FAULTS: list[tuple[Plant, str, str]] = [
    (label_missing, "label", "does not exist"),
    (label_not_given, "image", "without a label"),
    (label_is_image, "image", "both image and label"),
    (values(lambda label: label[:, :, :-1], "label"), "label", "has shape (100, 80, 23), its image"),
    (values(lambda label: label.swapaxes(0, 1), "label"), "label", "has shape (80, 100, 24), its image"),
    (
        affine(lambda own: nib.affines.from_matvec(np.eye(3), [0, 0.5, 0]) @ own, "label"),
        "label",
        "lies up to 0.167 voxels",
    ),
    # 3 µm a slice, of which Spacingd would make another number of slices
    (affine(lambda own: own @ np.diag([1, 1, 1.001, 1]), "label"), "label", "has voxels of 3, 3, 3.003 mm, its image"),
    (label_in_other_directions, "label", "has voxels of 3, 3, 3.003 mm, its image"),
    # the header alone is flipped: as many voxels lie on the other side of the origin
    (affine(lambda own: own @ np.diag([-1, 1, 1, 1]), "label"), "label", "lies up to 99 voxels off its image"),
    (label_values(np.s_[2, 2, 2:5], 0.5, np.float32), "label", "has 3 voxels that are no integers"),
    (label_values(np.s_[0, 0, :3], (-1, 5, 117), np.int16), "label", f"has values -1, 5, 117 {TABLE}"),
    (label_values(np.s_[0, 0, 0], 100_000, np.int32), "label", "has values 100000 outside the organ table"),
    (label_values(np.s_[0, 0, 0], np.nan, np.float32), "label", "has 1 NaN or infinite voxels"),
    (values(np.zeros_like, "label"), "label", "is empty, all voxels are background"),
]


def test_every_label_fault_in_one_report(crops):
    image, label = crops.voxels(1)
    items, files = [], []
    for number, (plant, _, _) in enumerate(LABEL_FAULTS):
        item = {
            "image": crops.write(f"img/{number}.nii.gz", image + np.int16(number)),
            "label": crops.write(f"label/{number}.nii.gz", label),
        }
        files.append(dict(item))
        plant(crops, item)
        items.append(item)
    report = report_of(crops.organs, labeled=[crops.case(3), *items])
    for item, (plant, key, expected) in zip(files, LABEL_FAULTS, strict=True):
        lines = errors_about(item[key], report)
        assert any(expected in line for line in lines), (expected, lines)
        # the CT given as label is out of the organ table, too
        assert len(lines) == (2 if plant is label_is_image else 1), lines
    assert len(report) == len(LABEL_FAULTS) + 1


def test_items_that_are_none(crops):
    report = report_of(crops.organs, labeled=["0001", {"label": "x"}], unlabeled=[{"image": ["a", "b"]}])
    assert [line.split(": ")[1] for line in report] == ["labeled[0]", "labeled[1]", "unlabeled[0]"]


def test_duplicates_in_any_axis_order_and_direction(crops):
    """The same CT across lists is a leak, in whatever file and orientation; in one list it is a warning."""
    case = crops.case(1)
    image = nib.load(case["image"])
    turned = nib.as_closest_canonical(image).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    other = str(crops.folder / "turned.nii")
    nib.save(nib.Nifti1Image(np.asanyarray(turned.dataobj).astype(np.float32), turned.affine), other)
    assert nib.load(other).shape != image.shape
    report = report_of(crops.organs, labeled=[case], validation=[crops.case(2)], unlabeled=[{"image": other}])
    assert len(report) == 1
    assert report[0].startswith(f"ERROR: {other}: in 'unlabeled' has the voxels of '{case['image']}' in 'labeled'")
    unlabeled = [{"image": case["image"]}, {"image": other}]
    check = InputCheck(crops.organs, [case], unlabeled, allow_overlap=["labeled", "unlabeled"])
    with pytest.warns(UserWarning, match=f"warning: {other}: in 'unlabeled' has the voxels of .* in 'unlabeled'"):
        check.run()
    report = report_of(crops.organs, labeled=[case], validation=[case], allow_overlap=["labeled", "unlabeled"])
    assert len(report) == 1 and "in 'validation' has the voxels" in report[0]


def test_warnings_do_not_stop(crops):
    """Nothing below 0 HU, a shifted qform, no orientation, an organ that no label shows, an empty validation label."""
    clipped = crops.case(1)
    crops.write(clipped["image"], crops.voxels(1)[0].clip(0).astype(np.int16))
    with_two_affines(clipped["label"], crops.affine + np.array([[0, 0, 0, 12], *[[0] * 4] * 3]))
    unoriented = crops.case(2)
    patch_header(unoriented["image"], 252, "<2h", 0, 0)
    patch_header(unoriented["label"], 252, "<2h", 0, 0)
    background = crops.case(3)
    crops.write(background["label"], np.zeros_like(crops.voxels(3)[1]))
    with pytest.warns(UserWarning) as caught:
        InputCheck([*crops.organs, "duodenum"], [clipped, unoriented], validation=[background]).run()
    (report,) = [str(warning.message).splitlines()[1:] for warning in caught]
    expected = [
        (clipped["label"], "lie up to 4 voxels apart"),
        (clipped["image"], "neither air nor fat"),
        (unoriented["image"], "does not say how the patient lies"),
        (background["label"], "no organ can be scored here"),
        ("labeled", "no case shows duodenum"),
    ]
    assert len(report) == len(expected)
    for line, (path, text) in zip(report, expected, strict=True):
        assert line.startswith(f"warning: {path}: ") and text in line


def test_a_label_within_the_tolerance_passes(crops):
    case = crops.case(1)
    shifted = crops.affine.copy()
    shifted[0, 3] += 0.2  # a fifteenth of a voxel
    crops.write(case["label"], crops.voxels(1)[1], shifted)
    InputCheck(crops.organs, [case]).run()


def test_dicom_series_as_image(crops):
    voxels = crops.voxels(1)[0]
    write_series(crops.folder / "series", voxels, crops.affine, "1.2.3.1")
    item = {"image": str(crops.folder / "series"), "label": crops.case(1)["label"]}
    (facts,) = InputCheck(crops.organs, [item]).run()
    assert facts.image.shape == voxels.shape and facts.image.minimum == voxels.min()
    # and the series is known to be the CT of the NIfTI
    report = report_of(crops.organs, labeled=[item], unlabeled=[{"image": crops.case(1)["image"]}])
    assert len(report) == 1 and "has the voxels of" in report[0]
    (crops.folder / "series" / "slice010.dcm").unlink()
    assert "not evenly spaced" in report_of(crops.organs, unlabeled=[{"image": item["image"]}])[0]


def test_grid_distance_is_in_voxels():
    affine = np.diag([0.5, 0.5, 5.0, 1.0])
    other = affine.copy()
    other[2, 3] = 1.0
    assert grid_distance(affine, other, (10, 10, 10)) == pytest.approx(0.2)
    other = np.diag([0.55, 0.5, 5.0, 1.0])
    assert grid_distance(affine, other, (11, 10, 10)) == pytest.approx(1.0)
