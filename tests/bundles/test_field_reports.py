# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What people reported of other tools (docs/field_reports.md), through MONAI's runner here."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from support.dicom import write_series
from support.runner import BUNDLES, run_monai
from support.threshold import RUN, TESTS, agreement, body

UPRIGHT = np.diag([-3.0, -3.0, 3.0, 1.0])
NIFTI = np.diag([3.0, 3.0, 3.0, 1.0])
# the second and third axis swapped, and turned by 12 degrees
SWAPPED = nib.affines.from_matvec(np.array([[3, 0, 0], [0, -0.6237, 2.9345], [0, -2.9345, -0.6237]]))


def edit(folder: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    for path in folder.glob("*.dcm"):
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path, enforce_file_format=True)


def own_intercept(header: pydicom.Dataset) -> None:
    """Every second slice is stored 500 higher, as its own intercept says."""
    if header.InstanceNumber % 2:
        header.PixelData = (header.pixel_array + 500).astype("<u2").tobytes()
        header.RescaleIntercept = -2500


def thick_and_compressed(header: pydicom.Dataset) -> None:
    """Slices overlap, so that their thickness is not their distance."""
    header.SliceThickness = 5
    header.compress(pydicom.uid.RLELossless)


def test_segmentations_lie_where_the_organs_are(tmp_path):
    (hu, label), data, out = body(), tmp_path / "data", tmp_path / "out"
    nifti = data / "img"
    nifti.mkdir(parents=True)
    prone, oblong = UPRIGHT @ np.diag([-1, -1, 1, 1]), UPRIGHT @ np.diag([2 / 3, 1, 1, 1])
    series = {"intercepts": UPRIGHT, "compressed": UPRIGHT, "prone": prone, "oblong pixels": oblong}
    for number, (name, affine) in enumerate(series.items()):
        write_series(data / name, hu, affine, f"1.2.3.{number}")
    edit(data / "intercepts", own_intercept)
    edit(data / "compressed", thick_and_compressed)
    nib.save(nib.Nifti1Image(hu.astype(np.int64), NIFTI, dtype="int64"), nifti / "1.3.12.2.1107.5.nii.gz")
    nib.save(nib.Nifti1Image(hu, SWAPPED), nifti / "swapped.nii.gz")
    unsigned = nib.Nifti1Image((hu + 1024).astype(np.uint16), NIFTI)
    unsigned.header.set_slope_inter(1, -1024)  # nibabel then saves the voxels as they are
    nib.save(unsigned, nifti / "unsigned.nii.gz")
    images = {"1.3.12.2.1107.5": NIFTI, "swapped": SWAPPED, "unsigned": NIFTI}
    config = BUNDLES / "scdl_synapse" / "configs" / "inference.yaml"
    words = ("--dataset_dir", data, "--output_dir", out, "--pixdim", "[3,3,3]", *RUN)
    run_monai("run", "--config_file", config, *words, cwd=TESTS)
    for name, affine in {**series, **images}.items():
        found = nib.load(out / f"{name}_seg.nii.gz")
        if name in images:  # no digit of the header is another
            image = nib.load(nifti / f"{name}.nii.gz")
            assert (found.affine == image.affine).all() and found.header.get_zooms() == image.header.get_zooms()
        right = agreement(out / f"{name}_seg.nii.gz", label, affine)
        assert right > 0.9 if name == "oblong pixels" else right == 1, name  # its 2 mm are resampled to 3 mm
