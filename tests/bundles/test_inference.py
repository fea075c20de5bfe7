# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from support.dicom import write_series
from support.runner import REAL_CT, copy_bundle, options, run_monai
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

CT = REAL_CT / "ct.nii.gz"


def infer(bundle, images, output, *args, check=True):
    keep = {"pixdim", "roi_size", "num_filters", "num_workers"}
    words = options()
    scale = [w for key, value in zip(words[::2], words[1::2]) if key[2:] in keep for w in (key, value)]
    return run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--dataset_dir", images),
        *("--output_dir", output, *scale, *args),
        cwd=output.parent,
        check=check,
    )


def reorient(path, image, axcodes):
    """Stores an image in another axis order and direction; world space stays the same."""
    transform = ornt_transform(io_orientation(image.affine), axcodes2ornt(axcodes))
    nib.save(image.as_reoriented(transform), path)


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


@pytest.mark.trains
def test_dicom_series_gives_the_segmentation_of_the_same_nifti(segmenting, tmp_path):
    series, image = tmp_path / "series", nib.load(CT)
    write_series(series, np.asanyarray(image.dataobj), image.affine, "1.2.3")
    infer(segmenting, series, tmp_path / "out")
    infer(segmenting, CT, tmp_path / "out")
    dicom, nifti = (in_ras(tmp_path / "out" / f"{name}_seg.nii.gz") for name in ("series", "ct"))
    # DICOM rounds places and spacing; this network sees each voxel, and one of shift
    assert (dicom == nifti).mean() > 0.99 > 0.9 > (dicom == np.roll(nifti, 1, axis=0)).mean()


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
    message = output[output.rindex("FailedCasesError") :]
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


def test_a_pickle_that_runs_code_is_refused(trained, tmp_path):
    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"model": Malicious()}, tmp_path / "bad.pt")
    output = infer(trained, CT, tmp_path / "out", "--weights", tmp_path / "bad.pt", check=False)
    assert "can be loaded safely" in output.rstrip().splitlines()[-1]
    assert not (tmp_path / "owned").exists()
