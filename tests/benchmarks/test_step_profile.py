# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

from benchmarks.step_profile import recorded, tables


def test_an_iteration_asks_for_no_value_but_the_check_of_labels_on_a_cpu():
    scale = {"roi_size": [32, 32, 32], "num_filters": 2, "spacing": 5.0}
    text = tables(recorded(1, 2, **scale), 2, rows=5)
    assert re.search(r"^\| aten::_local_scalar_dense \| [\d.]+ \| 1 \|$", text, flags=re.MULTILINE)
    shares = [float(share) for share in re.findall(r"([\d.]+) % \|$", text, flags=re.MULTILINE)]
    assert len(shares) == 5 + 1 and shares[:5] == sorted(shares[:5], reverse=True) and sum(shares[:5]) < 100
