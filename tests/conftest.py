# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of several folders."""

from support.crops import crops
from support.reports import data, predict

__all__ = ["crops", "data", "predict"]
