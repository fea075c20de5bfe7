# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from scdl_components.errors import InputError
from scdl_components.metrics import Protocol

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "metrics.npz")
CASES = ["near", "far", "one_voxel", "pred_empty", "truth_empty", "both_empty"]


def score(protocol, pred, label, affine=np.eye(4)):
    return protocol(pred.astype(np.uint8), label.astype(np.uint8), affine, 2)[0]


@pytest.mark.parametrize("case", CASES)
def test_paper_protocol_is_the_published_evaluation(case):
    """The published masks stand on the common grid already."""
    masks = [np.unpackbits(REFERENCE[f"{case}/{side}"])[: 40**3].reshape([40] * 3) for side in ("pred", "truth")]
    found = score(Protocol("paper", spatial_size=(40, 40, 40)), *masks)
    assert found.dice == pytest.approx(float(REFERENCE[f"{case}/dice"]), abs=1e-6)
    assert found.asd == pytest.approx(float(REFERENCE[f"{case}/asd"]), abs=1e-6)


@pytest.mark.parametrize(
    "in_pred, in_label, status, clinical, paper",
    [
        (False, True, "missing in prediction", (0, None, 0), (0, 128, 0)),
        (True, False, "missing in reference", (0, None, 0), (0, 128, 0)),
        (False, False, "absent in both", (None, None, None), (1, 0, None)),
    ],
)
def test_missing_organs(in_pred, in_label, status, clinical, paper):
    mask = np.ones((8, 8, 8))
    for protocol, expected in ((Protocol("clinical"), clinical), (Protocol("paper"), paper)):
        found = score(protocol, mask * in_pred, mask * in_label)
        assert found.status == status
        scores = [None if isnan(value) else value for value in (found.dice, found.asd, found.nsd_area)]
        assert scores == list(expected)
        assert isnan(found.hd95) and isnan(found.assd) and found.nsd_count == pytest.approx(found.nsd_area, nan_ok=True)


def test_clinical_distances_are_in_mm_of_the_affine_and_paper_ones_in_voxels_of_its_grid():
    """A slab one voxel (2.5 mm) too high; on 80 slices instead of 20 it is four voxels."""
    pred, label = np.zeros((2, 16, 16, 20))
    label[4:12, 4:12, 5] = pred[4:12, 4:12, 6] = 1
    affine = np.diag([-1.0, 1.0, 2.5, 1.0])
    assert score(Protocol("clinical"), pred, label, affine).assd == 2.5
    # each slice has become four: either box reaches four slices beyond the other
    found = score(Protocol("paper"), pred, label, affine)
    assert found.hd95 == 4 and found.dice == 0
    for tolerance, expected in ((2.4, 0), (2.5, 1)):
        assert score(Protocol("clinical", nsd_tolerance=tolerance), pred, label, affine).nsd_count == expected


def test_protocols_that_there_are_not():
    with pytest.raises(InputError, match="no protocol 'papers'.*clinical, paper"):
        Protocol("papers")
    with pytest.raises(InputError, match="nsd_tolerance is -1.*in mm"):
        Protocol("clinical", -1)
