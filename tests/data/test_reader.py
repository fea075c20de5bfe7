# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The reader of the configs, in MONAI's LoadImage."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from support.dicom import write_series

from scdl_components.data import VolumeReader
from scdl_components.errors import InputError


def test_nifti_is_read_as_by_monai(crops):
    path = crops.write("a.nii.gz", crops.voxels(1)[0])
    ours, monais = LoadImage(reader=VolumeReader())(path), LoadImage()(path)
    np.testing.assert_array_equal(ours.numpy(), monais.numpy())
    np.testing.assert_array_equal(ours.affine.numpy(), monais.affine.numpy())
    assert ours.meta.keys() == monais.meta.keys()


def test_the_affine_is_the_header_s_as_nibabel_and_the_check_read_it(crops):
    """MONAI takes the qform where voxel sizes differ in the fifth digit, as a registration's rounded sform has them."""
    path = crops.write("a.nii.gz", crops.voxels(1)[0])
    volume = nib.load(path)
    turned = volume.affine.copy()
    turned[:3, :3] = np.round(turned[:3, :3] @ [[0.996, -0.087, 0], [0.087, 0.996, 0], [0, 0, 1]], 3)
    volume.set_sform(turned, code=2)
    nib.save(volume, path)
    assert not np.allclose(LoadImage()(path).affine, turned, atol=0.01)
    np.testing.assert_allclose(LoadImage(reader=VolumeReader())(path).affine, turned, atol=1e-6)


def test_dicom_equals_the_nifti(crops):
    write_series(crops.folder / "series", crops.voxels(1)[0], crops.affine, "1.2.3", number=lambda k: 1)
    load = LoadImage(reader="scdl_components.data.VolumeReader", ensure_channel_first=True)
    dicom, nifti = load(crops.folder / "series"), load(crops.write("a.nii.gz", crops.voxels(1)[0]))
    np.testing.assert_array_equal(dicom.numpy(), nifti.numpy())
    np.testing.assert_allclose(dicom.affine.numpy(), nifti.affine.numpy(), atol=1e-4)


def test_what_is_refused_is_not_read_by_another_reader(crops):
    """MONAI goes on to its own, and those read a series with a gap without a word."""
    folder = crops.folder / "series"
    write_series(folder, crops.voxels(1)[0], crops.affine, "1.2.3")
    (folder / "slice010.dcm").unlink()
    assert LoadImage()(folder).shape[2] == 23
    with pytest.raises(InputError, match="series' has slices that are not evenly spaced"):
        LoadImage(reader=VolumeReader())(folder)


def test_another_modality_is_refused_unless_allowed(crops):
    folder = crops.folder / "mr"
    write_series(folder, crops.voxels(1)[0], crops.affine, "1.2.3", Modality="MR")
    with pytest.raises(InputError, match=r"mr' is a DICOM series of modality MR, .*--modalities \"\['CT', 'MR'\]\""):
        LoadImage(reader=VolumeReader(["CT"]))(folder)
    for modalities in (["CT", "MR"], "MR", None):
        assert LoadImage(reader=VolumeReader(modalities))(folder).shape == crops.voxels(1)[0].shape


def test_a_file_is_of_the_series_beside_it(crops):
    """As MONAI Label keeps the series of a DICOMweb server."""
    path = crops.write("1.2.3.nii.gz", crops.voxels(1)[0])
    write_series(crops.folder / "1.2.3", crops.voxels(1)[0], crops.affine, "1.2.3", Modality="MR")
    with pytest.raises(InputError, match="1.2.3.nii.gz' is a DICOM series of modality MR, and CT is expected"):
        LoadImage(reader=VolumeReader(["CT"]))(path)


def test_a_damaged_file_is_named(crops):
    path = Path(crops.write("a.nii.gz", crops.voxels(1)[0]))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"'{path}' cannot be read .*; write it again"):
        LoadImage(reader=VolumeReader())(path)


def test_other_formats_are_left_to_monai(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24.0).reshape(2, 3, 4))
    assert LoadImage(reader=VolumeReader())(tmp_path / "a.npy").shape == (2, 3, 4)
