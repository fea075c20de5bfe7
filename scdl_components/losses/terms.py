# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A loss with its weight."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LossTerm(NamedTuple):
    """A value as it is logged, and its weight in the total."""

    value: Tensor
    weight: float | Tensor
