# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scdl_components.class_names import class_names, names_by_value
from scdl_components.errors import InputError, MissingFileError


def test_order_is_that_of_the_values_not_of_the_file():
    assert names_by_value({"2": "spleen", "0": "background", "10": "aorta"} | {str(v): str(v) for v in (1, 3, 4, 5, 6, 7, 8, 9)}) == [
        "background", "1", "spleen", "3", "4", "5", "6", "7", "8", "9", "aorta"
    ]


def test_a_value_without_a_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is none for \[1\]"):
        names_by_value({"0": "background", "2": "spleen"})
    with pytest.raises(MissingFileError, match="--metadata"):
        class_names(str(tmp_path / "metadata.json"))
