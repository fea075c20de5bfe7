# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from benchmarks.reliability import HEAD, PROMISES, ROOT, main


@pytest.mark.parametrize("test", sorted({test for tests in PROMISES.values() for test in tests}))
def test_what_stands_behind_a_promise_is_there(test):
    """A test that was moved or renamed would leave the promise untested until somebody writes the table again."""
    file, _, function = test.partition("::")
    assert re.search(rf"^def {function or 'test_'}", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_one_promise_is_tested_again_and_the_other_rows_stay(tmp_path):
    zips, other, last = "Zips with", *list(PROMISES)[:2]
    rows = [f"| {next(p for p in PROMISES if zips in p)} | old | old |", f"| {last} | kept | kept |"]
    document = tmp_path / "reliability.md"
    document.write_text("\n".join(["# Title", "", HEAD, *rows]) + "\n\n## Not promised\n", encoding="utf-8")
    main(only=zips, document=str(document))
    text = document.read_text(encoding="utf-8")
    # in the order of PROMISES; what has never run stays out
    assert text.startswith(f"# Title\n\n{HEAD}\n| {last} | kept | kept |\n| {zips}")
    assert re.search(r"`package/test_hostile_zip.py` \| \d+ passed, ", text) and "old" not in text and other not in text
    assert text.endswith(" seconds of the tests' own clocks.\n\n## Not promised\n")
