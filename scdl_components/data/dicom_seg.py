# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentations of DICOM series as DICOM SEG, by highdicom."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from .. import __version__
from ..atomic import whole_file
from ..errors import InputError, SettingError
from .dicom import slices_in_order

NAME = "SCDL for MONAI"
NO_CODE = ("91772007", "Organ")


def check_highdicom() -> None:
    """Check that highdicom is installed.

    Raises:
        SettingError: it is not.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise SettingError("--output_format dicom_seg needs highdicom: pip install highdicom") from error


def write_dicom_seg(
    segmentation: Path, series: str, names: Sequence[str], snomed_ct: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Write a series' segmentation as DICOM SEG, a segment for each organ.

    Args:
        segmentation: NIfTI file of labels in the grid of the series, [columns, rows, slices].
        series: its folder.
        names: of the classes, background first; a leading *right* or *left* becomes a modifier (CID 244).
        snomed_ct: code and meaning by name (PS3.16, CID 7151); a name without one is an organ.
        path: file to write.

    Raises:
        InputError: the series' headers lack what a segmentation takes over from them.
    """
    import highdicom  # an extra, and slow to import, as pydicom's codes are
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    sides = {"right": codes.SCT.Right, "left": codes.SCT.Left}
    frames = np.asarray(nib.load(segmentation).dataobj).transpose(2, 1, 0)
    by = highdicom.AlgorithmIdentificationSequence(NAME, codes.DCM.ArtificialIntelligence, __version__)
    segments = []
    for number, name in enumerate(names[1:], start=1):
        value, meaning = snomed_ct.get(name, NO_CODE)
        kind = codes.SCT.AnatomicalStructure, Code(value, "SCT", meaning)
        segment = highdicom.seg.SegmentDescription(number, name, *kind, "AUTOMATIC", by)
        if side := sides.get(name.split()[0]):
            (coded,) = segment.SegmentedPropertyTypeCodeSequence
            coded.SegmentedPropertyTypeModifierCodeSequence = [highdicom.sr.CodedConcept.from_code(side)]
        segments.append(segment)
    made_by = dict(zip(("manufacturer", "manufacturer_model_name", "software_versions"), (NAME, NAME, __version__)))
    try:
        content = highdicom.seg.Segmentation(
            [pydicom.dcmread(file) for file in slices_in_order(series)],
            frames,
            "BINARY",
            segments,
            *(highdicom.UID(), 1, highdicom.UID(), 1),  # of the series, and of the one object in it
            device_serial_number="0",
            **made_by,
        )
    except AttributeError as error:  # highdicom reads what it needs without asking whether it is there
        raise InputError(
            f"'{series}' cannot have a DICOM SEG ({error}); leave --output_format dicom_seg out"
        ) from error
    with whole_file(path, "Make room or give another --output_dir") as file:
        content.save_as(file)
