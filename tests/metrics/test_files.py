# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from scdl_components.errors import InputError
from scdl_components.metrics import Protocol, score_files

AFFINE = np.array([[0.8, 0.1, 0, -20], [-0.1, 0.8, 0, 5], [0, 0, 2.5, 100], [0, 0, 0, 1.0]])


def write(path, labels, affine=AFFINE, dtype=np.uint8):
    nib.save(nib.Nifti1Image(labels.astype(dtype), affine), path)
    return path


@pytest.fixture
def labels():
    volume = np.zeros((20, 18, 12), dtype=np.uint8)
    volume[3:11, 4:12, 2:9] = 1
    volume[13:18, 4:9, 3:6] = 2
    return volume


def test_storage_order_and_type_of_the_files_do_not_matter(tmp_path, labels):
    reference = write(tmp_path / "label.nii.gz", labels, dtype=np.float32)
    prediction = write(tmp_path / "pred.nii.gz", np.roll(labels, 1, axis=2))
    image = nib.load(prediction)
    other = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("PIR")))
    nib.save(other, tmp_path / "pir.nii.gz")
    expected = score_files(prediction, reference, 3, Protocol("clinical"))
    found = score_files(tmp_path / "pir.nii.gz", reference, 3, Protocol("clinical"))
    for a, b in zip(expected, found):
        assert a.hd95 == pytest.approx(2.5) and a.status == "in both"
        assert asdict(b) == pytest.approx(asdict(a))
    # 448 and 75 voxels of 0.65 × 2.5 mm³
    volumes = [score.volume_reference_ml for score in found]
    np.testing.assert_allclose(volumes, np.array([448, 75]) * 0.65 * 2.5 / 1000, rtol=1e-6)


def test_what_cannot_be_compared_is_refused_by_name(tmp_path, labels):
    reference = write(tmp_path / "label.nii.gz", labels)
    (tmp_path / "cut.nii.gz").write_bytes(reference.read_bytes()[:150])
    shifted = AFFINE + np.outer([0, 0, 1, 0], [0, 0, 0, 1.0])
    for name, path, message in [
        ("shape", write(tmp_path / "shape.nii.gz", labels[:-1]), "19×18×12 voxels.*20×18×12"),
        ("grid", write(tmp_path / "grid.nii.gz", labels, shifted), "0.4 voxels off"),
        ("values", write(tmp_path / "values.nii.gz", labels * 2), "values from 0 to 4; expected 0 to 2"),
        ("half", write(tmp_path / "half.nii.gz", labels / 2, dtype=np.float32), "fractions"),
        ("nan", write(tmp_path / "nan.nii.gz", labels * np.nan, dtype=np.float32), "values from nan"),
        ("cut", tmp_path / "cut.nii.gz", "cannot be read"),
        ("none", tmp_path / "none.nii.gz", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            score_files(path, reference, 3, Protocol("clinical"))
        assert f"{name}.nii.gz" in str(error.value)
