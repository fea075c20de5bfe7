# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Events beside those of ignite and MONAI."""

from ignite.engine import EventEnum


class RunEvents(EventEnum):
    """Event ``ENDED``, fired when a run ends, even by an exception."""

    ENDED = "run_ended"
