# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Input checks: before a training, and as a command (``python -m scdl_components.data.check``)."""

from scdl_components.data.check.input_check import InputCheck

__all__ = ["InputCheck"]
