# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series through the runner, with a network that shows where each voxel went."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from support.dicom import STUDY, write_series
from support.runner import BUNDLES, run_monai
from support.threshold import RUN, TESTS, agreement, body

from scdl_components.data import load_cases
from scdl_components.data.case_entries import CaseListError

SPACING = np.diag([-3.0, -3.0, 3.0, 1.0])
TILTED = nib.affines.from_matvec([[-3, 0, 0], [0, -2.95, 0], [0, 0.521, 3]])  # 10°, slices along the table


def segment(folder: Path, output: Path, *args: str, check: bool = True) -> str:
    config = BUNDLES / "scdl_synapse" / "configs" / "inference.yaml"
    words = ("--dataset_dir", folder, "--output_dir", output, "--pixdim", "[3,3,3]", *RUN, *args)
    return run_monai("run", "--config_file", config, *words, cwd=TESTS, check=check)


def test_a_folder_of_series_good_and_bad(tmp_path):
    """Positions decide, not numbers; what they do not decide, and what is no CT, is told while the others are done."""
    (hu, label), series, out = body(), tmp_path / "series", tmp_path / "out"
    order = np.random.default_rng(0).permutation(hu.shape[2])
    write_series(series / "one number", hu, SPACING, "1.2.1", number=lambda k: 1)
    write_series(series / "shuffled", hu, SPACING, "1.2.2", number=lambda k: int(order[k]))
    write_series(series / "tilted", hu, TILTED, "1.2.3")
    write_series(series / "a gap", hu, SPACING, "1.2.4")
    (series / "a gap" / "slice033.dcm").unlink()
    write_series(series / "mr", hu, SPACING, "1.2.5", Modality="MR")
    told = segment(series, out, check=False)
    message = told[told.rindex("UserError") :]
    assert "2 of 5 cases failed" in message
    assert "after 'slice034.dcm' the next one, 'slice032.dcm', lies 6 mm away, not 3 mm" in message
    assert f"InputError: '{series}/mr' is a DICOM series of modality MR, and CT is expected" in message
    assert "--modalities \"['CT', 'MR']\"" in message
    assert agreement(out / "one number_seg.nii.gz", label, SPACING) == 1
    assert agreement(out / "shuffled_seg.nii.gz", label, SPACING) == 1
    assert agreement(out / "tilted_seg.nii.gz", label, TILTED) > 0.9  # resampled into the upright grid and back
    assert len(list(out.iterdir())) == 6
    # the key of the message
    segment(series / "mr", out, "--modalities", "['CT', 'MR']")
    assert agreement(out / "mr_seg.nii.gz", label, SPACING) == 1


def test_training_loads_a_series_as_the_nifti_and_refuses_another_modality(tmp_path):
    hu, label = body()
    config = ConfigParser()
    config.read_config(BUNDLES / "scdl_synapse" / "configs" / "train.yaml")
    load = config.get_parsed_content("train#deterministic_transforms#0")
    write_series(tmp_path / "scan1", hu, SPACING, "1.2.1", number=lambda k: 1)
    write_series(tmp_path / "scan2", hu, SPACING, "1.2.2", Modality="MR")
    for name in ("scan1", "scan2"):
        nib.save(nib.Nifti1Image(label, SPACING), tmp_path / f"{name}.nii.gz")
    (tmp_path / "list.json").write_text('{"labeled": ["1", "2"]}')
    layouts = [{"image": "scan{id}", "label": "scan{id}.nii.gz"}]
    with pytest.raises(CaseListError, match=r"1 case\(s\) are MR in a list of CT: '2' \(labeled\).*\"CT\", \"MR\"\]"):
        load_cases(str(tmp_path), "list.json", layouts)
    (tmp_path / "list.json").write_text('{"labeled": ["1", "2"], "modalities": ["CT", "MR"]}')
    for case in load_cases(str(tmp_path), "list.json", layouts)["labeled"]:
        loaded = load(case)
        np.testing.assert_array_equal(loaded["image"][0].numpy(), hu)
        np.testing.assert_allclose(loaded["image"].affine.numpy(), loaded["label"].affine.numpy(), atol=1e-4)


@pytest.mark.slow
def test_a_dicom_seg_beside_the_nifti_file(tmp_path):
    """Read again by highdicom, its labels lie where the NIfTI file's do, which is not made again for it."""
    highdicom = pytest.importorskip("highdicom", reason="no highdicom: pip install '.[dicom_seg]'")
    hu, series, out = body()[0], tmp_path / "series", tmp_path / "out"
    write_series(series / "tilted", hu, TILTED, "1.2.3", **STUDY)
    write_series(series / "straight", hu[:, :, ::-1], SPACING, "1.2.4", **STUDY)
    nib.save(nib.Nifti1Image(hu, SPACING), tmp_path / "ct.nii.gz")
    assert "2 segmented" in segment(series, out)
    made = {path: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    images = [str(series / "tilted"), str(series / "straight"), str(tmp_path / "ct.nii.gz")]
    told = segment(images, out, "--output_format", "dicom_seg")
    assert "3 segmented" in told and all(path.stat().st_mtime_ns == when for path, when in made.items())
    assert "3 done before" in segment(images, out, "--output_format", "dicom_seg")
    assert {path.name for path in out.glob("*.dcm")} == {"tilted_seg.dcm", "straight_seg.dcm"}
    for name in ("tilted", "straight"):
        seg, nifti = highdicom.seg.segread(out / f"{name}_seg.dcm"), nib.load(out / f"{name}_seg.nii.gz")
        described = seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
        assert [s.SegmentLabel for s in seg.SegmentSequence][1:6:4] == ["right kidney", "liver"]
        assert described.CodeValue == "64033007"
        assert described.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
        shared, count = seg.SharedFunctionalGroupsSequence[0], 0
        row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
        down, right = shared.PixelMeasuresSequence[0].PixelSpacing
        to_nifti, labels = np.linalg.inv(nifti.affine) @ np.diag([-1, -1, 1, 1]), np.asarray(nifti.dataobj)
        for frame, of in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
            y, x = np.nonzero(frame)
            start = np.array(of.PlanePositionSequence[0].ImagePositionPatient, float)
            places = nib.affines.apply_affine(to_nifti, start + np.outer(x, row * right) + np.outer(y, column * down))
            np.testing.assert_allclose(places, places.round(), atol=1e-2)
            found = labels[tuple(places.round().astype(int).T)]
            assert set(found) == {of.SegmentIdentificationSequence[0].ReferencedSegmentNumber}
            count += len(x)
        assert count == (labels > 0).sum() > 0
    # what is made anew takes the DICOM SEG of before with it
    assert "2 segmented" in segment(series, out, "--overlap", "0.25") and not list(out.glob("*.dcm"))


def test_an_output_format_that_there_is_not(tmp_path):
    write_series(tmp_path / "ct", body()[0], SPACING, "1.2.3")
    told = segment(tmp_path / "ct", tmp_path / "out", "--output_format", "dicom", check=False)
    assert told.rstrip().splitlines()[-1] == "SettingError: output_format is 'dicom'; expected nifti or dicom_seg"
