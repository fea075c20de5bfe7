# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from scdl_components.class_names import class_names, names_by_value
from scdl_components.errors import InputError, MissingFileError


def test_order_is_that_of_the_values_not_of_the_file():
    names = {"10": "aorta", "2": "spleen", "0": "background"} | {str(value): str(value) for value in (1, *range(3, 10))}
    assert names_by_value(names) == ["background", "1", "spleen", *map(str, range(3, 10)), "aorta"]


def test_a_value_without_a_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is none for \[1\]"):
        names_by_value({"0": "background", "2": "spleen"})
    with pytest.raises(MissingFileError, match="no metadata at"):
        class_names(str(tmp_path / "metadata.json"))
