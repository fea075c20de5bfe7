# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Handlers that stand in more than one place of a config."""

from __future__ import annotations

from typing import Any


def shared_handler(handler: Any) -> Any:
    """The handler itself, for MONAI and MONAI Label read each entry of a list of handlers as a dict with a target."""
    return handler
