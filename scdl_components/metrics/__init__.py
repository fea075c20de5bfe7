# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""How well a segmentation agrees with its reference, organ by organ."""

from .files import read_labels, score_files
from .protocols import PROTOCOLS, ClinicalProtocol, PaperProtocol, make_protocol
from .scores import METRICS, OrganScore, organ_scores
from .validation import ValidationDice

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "ClinicalProtocol",
    "OrganScore",
    "PaperProtocol",
    "ValidationDice",
    "make_protocol",
    "organ_scores",
    "read_labels",
    "score_files",
]
