# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Abdominal CT phantoms, written as a data set in the BTCV layout: the data that can be had anywhere."""

from .render import phantom_case
from .table import AMOS_ORGANS, KNOWN_ORGANS, SYNAPSE_ORGANS
from .write import write_phantoms

__all__ = ["AMOS_ORGANS", "KNOWN_ORGANS", "SYNAPSE_ORGANS", "phantom_case", "write_phantoms"]
