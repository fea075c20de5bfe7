# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from scdl_components.data.dicom_seg import check_highdicom
from scdl_components.errors import SettingError


def test_without_highdicom_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(SettingError, match="needs highdicom: pip install"):
        check_highdicom()
