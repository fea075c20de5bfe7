# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Handlers that stand in more than one place of a config."""

from typing import Any


def shared_handler(handler: Any) -> Any:
    """Return the handler itself: in MONAI's lists each entry needs a target."""
    return handler
