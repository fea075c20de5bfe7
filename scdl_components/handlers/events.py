# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Events beside those of ignite and MONAI."""

from __future__ import annotations

from ignite.engine import EventEnum


class RunEvents(EventEnum):
    """``ENDED``: a run has come to its end, by itself or by an exception, which goes on its way."""

    ENDED = "run_ended"
