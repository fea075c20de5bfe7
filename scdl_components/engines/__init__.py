# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Engines."""

from .dual_student_trainer import DualStudentTrainer

__all__ = ["DualStudentTrainer"]
