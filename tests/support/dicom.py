# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series, written from voxels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

# what a segmentation takes over from its series
STUDY = {
    **dict.fromkeys(("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"), ""),
    **{"PatientID": "1", "PatientName": "A", "StudyID": "1", "StudyDate": "20260102", "StudyTime": "030405"},
    **{"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "SeriesNumber": 1, "SliceThickness": 5},
}


def decimals(values: np.ndarray) -> list[str]:
    """DICOM's decimal strings, of 16 characters at most."""
    return [f"{value:.8g}" for value in values]


def write_series(
    folder: Path,
    voxels: np.ndarray,
    affine: np.ndarray,
    uid: str,
    prefix: str = "slice",
    number: Callable[[int], int] = lambda k: k + 1,
    **tags: object,
) -> None:
    """Write HU voxels as a DICOM CT series; ``affine`` is RAS, its axes i, j, k are columns, rows, slices.

    ``number`` gives a slice's InstanceNumber; ``tags`` are set last, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    for k in range(voxels.shape[2]):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
        header.SeriesInstanceUID, header.InstanceNumber, header.Modality = uid, number(k), "CT"
        header.ImagePositionPatient = decimals(lps[:3, :3] @ (0, 0, k) + lps[:3, 3])
        header.ImageOrientationPatient = decimals(lps[:3, 0] / spacing[0]) + decimals(lps[:3, 1] / spacing[1])
        header.PixelSpacing = decimals(spacing[1::-1])
        header.Columns, header.Rows = voxels.shape[:2]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
        header.RescaleSlope, header.RescaleIntercept = 1, -2000
        header.PixelData = (voxels[:, :, k].T.astype(np.int32) + 2000).astype("<u2").tobytes()
        for tag, value in tags.items():
            setattr(header, tag, value)
        # names sort against the slices' order, which must not matter
        header.save_as(folder / f"{prefix}{voxels.shape[2] - k:03d}.dcm", enforce_file_format=True)
