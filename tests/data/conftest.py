# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from support.cases import write_case


@pytest.fixture
def cases(tmp_path) -> list[dict[str, str]]:
    return [write_case(tmp_path, number) for number in range(3)]


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "a" / "cache"
