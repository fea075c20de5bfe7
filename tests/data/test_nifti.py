# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Headers at the edge of the standard: what the check says of a file is what MONAI loads, or the file is refused."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from scdl_components.data.facts import read_facts
from scdl_components.data.input_check import InputCheck
from scdl_components.data.reader import load_nifti
from scdl_components.errors import InputError

BUNDLE = Path(__file__).parents[2] / "bundles" / "scdl_synapse"
RANGE = [-125, 275]  # HU, as in the bundles
AFFINE = np.array([[2.9, 0.3, 0, -150.3], [-0.3, 2.9, 0, 80.7], [0, 0, 3, -1017.2], [0, 0, 0, 1]])
CODES = ("LPS", "PIR", "SAL")


def volume() -> np.ndarray:
    """HU [61, 50, 44]: noise, so that no two places look alike; 44 slices of 3 mm are half a voxel more than whole."""
    return np.random.default_rng(0).integers(-1000, 300, (61, 50, 44)).astype(np.int16)


def write(path: Path, hu: np.ndarray, *patches: tuple[int, str, float], qform_alone: bool = False) -> str:
    """An uncompressed NIfTI-1 file with bytes of its header overwritten; offsets as in nifti1.h."""
    image = nib.Nifti1Image(hu, None if qform_alone else AFFINE)
    if qform_alone:
        image.set_sform(None, 0)
        image.set_qform(AFFINE, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    for offset, layout, value in patches:
        struct.pack_into(layout, content, offset, value)
    path.write_bytes(content)
    return str(path)


def warnings_of(path: str) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        InputCheck((), unlabeled=[{"image": path}]).run()
    return "\n".join(str(warning.message) for warning in caught)


QFAC, SLOPE, INTER, QFORM_CODE, SFORM_CODE, PIXDIM_1 = 76, 112, 116, 252, 254, 80
HEADERS: list[tuple[str, list[tuple[int, str, float]], bool]] = [
    ("qfac 0", [(QFAC, "<f", 0)], True),
    ("qfac -1", [(QFAC, "<f", -1)], True),
    ("sform code out of the table", [(SFORM_CODE, "<h", 17)], True),
    ("no orientation", [(SFORM_CODE, "<h", 0), (QFORM_CODE, "<h", 0)], False),
    ("negative voxel size", [(PIXDIM_1, "<f", -3)], True),
    ("slope 0", [(SLOPE, "<f", 0), (INTER, "<f", -1024)], False),
    ("slope NaN", [(SLOPE, "<f", np.nan)], False),
    ("slope 2", [(SLOPE, "<f", 2), (INTER, "<f", -24)], False),
]


@pytest.mark.parametrize(("patches", "qform_alone"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_facts_are_of_what_monai_loads(tmp_path, patches, qform_alone):
    path = write(tmp_path / "a.nii", volume(), *patches, qform_alone=qform_alone)
    facts = read_facts(path)
    loaded = EnsureChannelFirst()(LoadImage()(path))
    assert not facts.failure and loaded.shape == (1, *facts.shape)
    np.testing.assert_allclose(facts.affine, loaded.affine.numpy(), atol=1e-5)
    assert (facts.minimum, facts.maximum) == (loaded.min().item(), loaded.max().item())


@pytest.mark.parametrize("bundle", ["scdl_synapse", "scdl_amos"])
def test_training_and_inference_prepare_an_image_alike(tmp_path, bundle):
    """Else the network meets mirrored patients, or other greys than it has learned."""
    path = write(tmp_path / "a.nii", volume())
    found = []
    for name, key in (
        ("train", "validate#preprocessing"),
        ("train", "train#preprocessing"),
        ("inference", "preprocessing"),
    ):
        parser = ConfigParser()
        parser.read_config(str(BUNDLE.with_name(bundle) / "configs" / f"{name}.yaml"))
        parser["bundle_root"] = str(BUNDLE.with_name(bundle))
        if key == "train#preprocessing":  # without the random steps, padding and cropping to what is not air
            parser["train#random_transforms"] = []
            for index in (4, 5):
                parser[f"train#deterministic_transforms#{index}#_disabled_"] = True
        image = parser.get_parsed_content(key)({"image": path})["image"]
        keys = [parser.get_parsed_content(k) for k in ("pixdim", "intensity_range", "roi_size", "num_filters")]
        found.append((image.float().numpy(), keys))
    for image, keys in found[1:]:
        np.testing.assert_array_equal(image, found[0][0])
        assert keys == found[0][1]


def test_directions_that_are_guessed_are_those_that_are_used(tmp_path):
    path = write(tmp_path / "a.nii", volume(), (SFORM_CODE, "<h", 0), (QFORM_CODE, "<h", 0))
    assert nib.aff2axcodes(LoadImage()(path).affine.numpy()) == ("L", "A", "S")
    assert "taken to point to L, A, S" in warnings_of(path)


def refusal(**lists: object) -> str:
    with pytest.raises(InputError) as error:
        InputCheck(["liver"], **lists, intensity_range=RANGE).run()
    return str(error.value)


def test_a_ct_outside_of_the_intensity_range_is_refused_in_every_list(crops, tmp_path):
    label = crops.write("label.nii.gz", np.minimum(crops.labels, 1))
    case = {"image": crops.write("twice.nii.gz", crops.ct - np.int16(1024)), "label": label}
    for lists in ({"labeled": [case]}, {"unlabeled": [{"image": case["image"]}]}, {"test": [case]}):
        message = refusal(**lists)
        assert "only 0.01% of its voxels lie inside intensity_range (-125 to 275), half of all at -1115" in message
    # a range that another image was meant for
    with pytest.raises(InputError, match="only 0.00% of its voxels lie inside intensity_range"):
        unlabeled = [{"image": crops.write("ct.nii.gz", crops.ct)}]
        InputCheck((), unlabeled=unlabeled, intensity_range=[2000, 4000]).run()


def whole(ct: np.ndarray) -> np.ndarray:
    return ct


def tightly_cropped(ct: np.ndarray) -> np.ndarray:
    return ct[40:80, 30:60, 8:24]


def in_much_air(ct: np.ndarray) -> np.ndarray:
    """As a child in the widest field of view: the body fills a twentieth of it."""
    return np.pad(ct, ((210, 210), (175, 175), (0, 0)), constant_values=-1000)


def padded_outside_of_the_field_of_view(ct: np.ndarray) -> np.ndarray:
    return np.pad(ct, ((40, 40), (40, 40), (0, 0)), constant_values=-3024)


def with_metal(ct: np.ndarray) -> np.ndarray:
    ct = ct.copy()
    ct[50:54, 40:44, 10:14] = 30000
    return ct


def cut_to_a_window(ct: np.ndarray) -> np.ndarray:
    return ct.clip(*RANGE)


SOUND = [whole, tightly_cropped, in_much_air, padded_outside_of_the_field_of_view, with_metal, cut_to_a_window]


@pytest.mark.parametrize("change", SOUND)
def test_sound_cts_are_taken_whatever_is_around_the_patient(crops, change: Callable[[np.ndarray], np.ndarray]):
    image = crops.write("ct.nii.gz", change(crops.ct))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InputCheck((), unlabeled=[{"image": image}], intensity_range=RANGE).run()


@pytest.fixture(scope="module")
def transforms() -> Compose:
    """What the bundle's training does to every case."""
    parser = ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs" / "train.yaml"))
    return Compose(parser.get_parsed_content("train#deterministic_transforms"))


@pytest.mark.parametrize("code", CODES)
def test_a_label_stored_in_other_directions_is_taken_and_comes_to_lie_on_its_image(tmp_path, transforms, code):
    hu = volume()
    case = {"image": write(tmp_path / "ct.nii", hu), "label": write(tmp_path / "label.nii", (hu > 40).astype(np.uint8))}
    stored = nib.load(case["label"])
    turned = stored.as_reoriented(ornt_transform(io_orientation(stored.affine), axcodes2ornt(code)))
    nib.save(turned, tmp_path / "turned.nii")
    other = {**case, "label": str(tmp_path / "turned.nii")}
    InputCheck(["liver"], [other], intensity_range=RANGE).run()
    expected, found = transforms(case), transforms(other)
    assert found["label"].any() and found["label"].shape == found["image"].shape
    np.testing.assert_array_equal(found["label"], expected["label"])
    np.testing.assert_allclose(found["label"].affine, found["image"].affine, atol=1e-4)


def test_a_fourth_axis_of_one_is_none(tmp_path, transforms):
    hu = volume()
    three = {"image": write(tmp_path / "3.nii", hu), "label": write(tmp_path / "3_label.nii", (hu > 40).astype("u1"))}
    four = {key: write(tmp_path / f"4_{key}.nii", load_nifti(path).dataobj[..., None]) for key, path in three.items()}
    InputCheck(["liver"], [four], intensity_range=RANGE).run()
    expected, found = transforms(three), transforms(four)
    for key in three:
        assert load_nifti(four[key]).shape == hu.shape
        np.testing.assert_array_equal(found[key], expected[key])


def test_more_axes_are_refused(tmp_path):
    for shape in ((8, 8), (8, 8, 8, 2), (8, 8, 8, 1, 1)):
        path = write(tmp_path / "a.nii", np.arange(np.prod(shape), dtype=np.int16).reshape(shape))
        assert read_facts(path).failure
        with pytest.raises(InputError, match="a.nii.*expected one volume of three axes"):
            load_nifti(path)
