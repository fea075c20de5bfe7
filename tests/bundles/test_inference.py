# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from support.runner import REAL_CT, SCALE, copy_bundle, run_monai
from support.threshold import TESTS, network

CT = REAL_CT / "ct.nii.gz"
SIZE = ("--pixdim", "[3,3,3]")


def infer(bundle, images, output, *args, check=True):
    return run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--dataset_dir", images),
        *("--output_dir", output, *SCALE, *args),
        cwd=TESTS,
        check=check,
    )


def reorient(path, image, axcodes):
    """Stores an image in another axis order and direction; world space stays the same."""
    transform = ornt_transform(io_orientation(image.affine), axcodes2ornt(axcodes))
    nib.save(image.as_reoriented(transform), path)


def patient(path, shift):
    """A body with a liver of 120 HU; its voxels."""
    hu = np.full((40, 36, 34), -1000, np.int16)
    hu[10:35, 10:30, 4:30] = 40
    hu[12 + shift : 20 + shift, 12:20, 10:20] = 120
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(hu, np.diag([3.0, 3.0, 3.0, 1.0])), path)
    return hu


def organ(path, value=6):
    return np.asarray(nib.load(path).dataobj) == value


def in_ras(path):
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


@pytest.mark.trains
def test_segments_in_the_patients_grid_whatever_the_storage_order(segmenting, tmp_path):
    source = nib.load(CT)
    images = tmp_path / "images with a $ space"
    images.mkdir()
    codes = ["RAS", "LPS", "PIR", "SAL"]
    for code in codes:
        reorient(images / f"ct {code}.nii.gz", source, code)
    infer(segmenting, images, tmp_path / "out")
    reference = in_ras(tmp_path / "out" / "ct RAS_seg.nii.gz")
    assert np.sort(np.bincount(reference.ravel()))[-2] > 0.05 * reference.size  # something to compare
    for code in codes:
        image, seg = nib.load(images / f"ct {code}.nii.gz"), nib.load(tmp_path / "out" / f"ct {code}_seg.nii.gz")
        assert seg.shape == image.shape and seg.get_data_dtype() == np.uint8
        np.testing.assert_allclose(seg.affine, image.affine, atol=1e-5)
        assert (in_ras(tmp_path / "out" / f"ct {code}_seg.nii.gz") == reference).mean() >= 0.9999
    names = json.loads((tmp_path / "out" / "ct RAS_seg.json").read_text())
    assert names["labels"]["0"] == "background" and names["labels"]["6"] == "liver" and len(names["labels"]) == 14


def test_scores_are_averaged_as_the_keys_say(trained, tmp_path):
    """Constant weights, published windows and probabilities, by command line alone."""
    output = infer(
        trained,
        CT,
        tmp_path / "out",
        *("--window_weights", "constant", "--overlap", "[0.5,0.5,0.75]"),
        *("--window_activation", "$torch.nn.Softmax(dim=1)"),
    )
    assert (tmp_path / "out" / "ct_seg.nii.gz").is_file(), output
    made_with = json.loads((tmp_path / "out" / "ct_seg.json").read_text())["made_with"]["settings"]
    decisive = {"students", "pixdim", "intensity_range", "roi_size", "num_filters", "overlap"}
    assert set(made_with) == decisive | {"window_weights", "window_activation"}
    parser = ConfigParser()
    parser.read_config(str(trained / "configs" / "inference.yaml"))
    parser.update({"window_weights": "constant", "window_activation": "$torch.nn.Softmax(dim=1)"})
    inferer = parser.get_parsed_content("inferer")
    assert str(inferer.mode.value) == "constant" and isinstance(inferer.activation, torch.nn.Softmax)


def test_without_weights_it_says_how_to_get_them(tmp_path):
    bundle = copy_bundle(tmp_path)
    output = run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--dataset_dir", CT), cwd=tmp_path, check=False
    )
    assert output.rstrip().splitlines()[-1].startswith("WeightsError: no weights at")


def test_a_failed_case_does_not_stop_the_others_and_done_ones_are_skipped(trained, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "c"):
        shutil.copy(CT, images / f"{name}.nii.gz")
    (images / "b.nii.gz").write_bytes(CT.read_bytes()[:20000])
    output = infer(trained, images, tmp_path / "out", check=False)
    message = output[output.rindex("UserError") :]
    assert "1 of 3 cases failed" in message and "b.nii.gz" in message and "a.nii.gz" not in message
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert set(first) == {"a_seg.nii.gz", "a_seg.json", "c_seg.nii.gz", "c_seg.json"}
    # the file is mended: only this one is segmented
    shutil.copy(CT, images / "b.nii.gz")
    assert "1 segmented, 2 done before" in infer(trained, images, tmp_path / "out")
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {name: after[name] for name in first} == first and "b_seg.json" in after
    # other settings: nothing counts as done
    assert "3 segmented, 0 done" in infer(trained, images, tmp_path / "out", "--overlap", "0.25")


def test_weights_of_another_network_say_what_differs(trained, tmp_path):
    output = infer(trained, CT, tmp_path / "out", "--num_filters", "4", check=False)
    assert "holds weights of another network" in output.rstrip().splitlines()[-1]
    assert "block_one.conv.0.weight is (2, 1, 3, 3, 3), not (4, 1, 3, 3, 3)" in output


def test_weights_of_another_network_are_not_exported(trained, tmp_path):
    configs = trained / "configs"
    output = run_monai(
        *("ckpt_export", "network_def", "--filepath", tmp_path / "model.ts", "--num_filters", "4"),
        *("--ckpt_file", trained / "models" / "model.pt", "--meta_file", configs / "metadata.json"),
        *("--config_file", configs / "inference.yaml"),
        cwd=tmp_path,
        check=False,
    )
    assert output.rstrip().splitlines()[-1].startswith("WeightsError: the file holds weights of another network")
    assert "Traceback" not in output and not (tmp_path / "model.ts").exists()


def test_a_pickle_that_runs_code_is_refused(trained, tmp_path):
    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"model": Malicious()}, tmp_path / "bad.pt")
    output = infer(trained, CT, tmp_path / "out", "--weights", tmp_path / "bad.pt", check=False)
    assert "can be loaded safely" in output.rstrip().splitlines()[-1]
    assert not (tmp_path / "owned").exists()


def test_what_another_network_made_is_made_anew(trained, tmp_path):
    """Another network, one with another attribute, and another TorchScript file of the same name; the same one is skipped."""
    hu = patient(tmp_path / "ct.nii.gz", 0)
    infer(trained, tmp_path / "ct.nii.gz", tmp_path / "out")
    for level, expected in ((120, hu == 120), (40, hu == 40)):
        args = *network(level), *SIZE
        assert "1 segmented, 0 done" in infer(trained, tmp_path / "ct.nii.gz", tmp_path / "out", *args)
        np.testing.assert_array_equal(organ(tmp_path / "out" / "ct_seg.nii.gz"), expected)
    keys = [*args[:2], "--network_def", f"$torch.jit.load('{tmp_path / 'a.ts'}')", *SIZE]
    for level in (3.0, 4.0):

        class Constant(torch.nn.Module):
            def forward(self, x: torch.Tensor):
                return torch.zeros([1, 14, 1, 1, 1], dtype=x.dtype) + x * self.level

        constant = Constant()
        constant.level = level  # a number, no tensor of the state dict
        torch.jit.save(torch.jit.script(constant), tmp_path / "a.ts")
        assert "1 segmented, 0 done" in infer(trained, tmp_path / "ct.nii.gz", tmp_path / "out", *keys)
    assert "0 segmented, 1 done" in infer(trained, tmp_path / "ct.nii.gz", tmp_path / "out", *keys)


def test_patients_whose_images_have_one_name(trained, tmp_path):
    args = *network(), *SIZE
    images = {name: tmp_path / "data" / name / "ct.nii.gz" for name in ("s0001", "s0002")}
    volumes = {name: patient(path, 5 * number) for number, (name, path) in enumerate(images.items())}
    patient(tmp_path / "data" / "s0001" / "segmentations" / "liver.nii.gz", 0)
    # results beside the images are no images
    for told in ("1 segmented, 0 done", "0 segmented, 1 done"):
        assert told in infer(trained, images["s0001"].parent, images["s0001"].parent, *args)
    assert "2 segmented, 0 done" in infer(trained, tmp_path / "data", tmp_path / "data", *args)
    for name, hu in volumes.items():
        np.testing.assert_array_equal(organ(tmp_path / "data" / f"{name}_ct_seg.nii.gz"), hu == 120)
    # one after the other: the first one's result is as it was
    infer(trained, images["s0001"], tmp_path / "out", *args)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    output = infer(trained, images["s0002"], tmp_path / "out", *args, check=False)
    message = output[output.rindex("UserError") :]
    assert f"ct_seg.nii.gz' is the result of {images['s0001']}" in message and "another --output_dir" in message
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    # the image itself has changed
    patient(images["s0001"], 3)
    assert "1 segmented, 0 done" in infer(trained, images["s0001"], tmp_path / "out", *args)


def test_a_segmentation_that_is_not_ours_is_left_alone(trained, tmp_path):
    args = *network(), *SIZE
    patient(tmp_path / "data" / "ct.nii.gz", 0)
    for name in ("ct_seg.nii.gz", "ct_seg.dcm", "ct_seg.json"):
        folder = tmp_path / f"out of {name}"
        folder.mkdir()
        (folder / name).write_bytes(b"by hand")
        output = infer(trained, tmp_path / "data", folder, *args, check=False)
        assert f"{name}' is there already, not of this inference" in output
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: b"by hand"}


def test_a_name_that_is_no_utf_8_is_segmented(trained, tmp_path):
    """As old archives leave it."""
    (tmp_path / "data").mkdir()
    path = os.path.join(os.fsencode(tmp_path / "data"), b"M\xfcller.nii.gz")
    patient(tmp_path / "ct.nii.gz", 0)
    os.rename(tmp_path / "ct.nii.gz", path)
    for told in ("1 segmented, 0 done", "0 segmented, 1 done"):
        assert told in infer(trained, tmp_path / "data", tmp_path / "out", *network(), *SIZE)


def test_the_reason_is_what_it_all_began_with(trained, tmp_path):
    bad = ("--preprocessing#transforms#7#a_min", "$'x'")
    output = infer(trained, CT, tmp_path / "out", *bad, check=False)
    assert f"- {CT}: TypeError: " in output.rstrip().splitlines()[-1]
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    "args, message",
    [
        (("--roi_size", "[40,40,40]"), "SettingError: VNet needs sizes that are multiples of 16"),
        (("--output_dir", CT / "out"), f"StorageError: cannot write to {CT / 'out'} "),
    ],
)
def test_what_no_case_can_be_done_with_is_one_sentence(trained, tmp_path, args, message):
    output = infer(trained, CT, tmp_path / "out", *args, check=False)
    assert output.rstrip().splitlines()[-1].startswith(message)
    assert "Traceback" not in output and "1 failed" not in output
