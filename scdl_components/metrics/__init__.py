# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""How well a segmentation agrees with its reference, organ by organ."""

from .files import score_files
from .protocols import Protocol
from .scores import METRICS, OrganScore, organ_scores
from .validation import ValidationDice

__all__ = ["METRICS", "OrganScore", "Protocol", "ValidationDice", "organ_scores", "score_files"]
