# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from benchmarks.reliability import PROMISES, ROOT


@pytest.mark.parametrize("test", sorted({test for tests in PROMISES.values() for test in tests}))
def test_what_stands_behind_a_promise_is_there(test):
    """A test that was moved or renamed would leave the promise untested until somebody writes the table again."""
    file, _, function = test.partition("::")
    assert re.search(rf"^def {function or 'test_'}", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
