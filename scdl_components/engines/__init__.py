# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Engines."""

from .case_by_case import CaseByCase
from .dual_student_trainer import DualStudentTrainer, autocast_dtype

__all__ = ["CaseByCase", "DualStudentTrainer", "autocast_dtype"]
