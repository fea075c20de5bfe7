# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Ramps: a weight's factor as a function of the fraction of training done."""

from __future__ import annotations

import math


def gaussian_ramp(progress: float) -> float:
    """exp(-5 (1 - t)²), from 0.0067 at t=0 to 1 at t=1 (docs/method.md, the weight of CPS)."""
    return math.exp(-5 * (1 - min(max(progress, 0.0), 1.0)) ** 2)
