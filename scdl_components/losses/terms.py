# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Losses with their weights."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

from torch import Tensor


class LossTerm(NamedTuple):
    """A value as it is logged, and its weight in the total."""

    value: Tensor
    weight: float | Tensor


def total(terms: Mapping[str, LossTerm]) -> Tensor:
    """Sum the weighted terms."""
    return reduce(add, (weight * value for value, weight in terms.values()))
