# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Organs that labels lack, of predictions of one row of voxels."""

import math

import pytest
import torch
from monai.handlers import MeanDice

from scdl_components.metrics import ValidationDice

NAMES = ["liver", "spleen", "aorta", "duodenum"]
LABELS = [[1, 1, 2, 2, 0, 0], [1, 1, 0, 0, 0, 0]]
PREDICTIONS = [[1, 0, 2, 2, 3, 0], [1, 1, 2, 0, 3, 0]]


def volumes(rows: list[list[int]]) -> list[torch.Tensor]:
    return [torch.tensor(row, dtype=torch.float32).reshape(1, 1, 1, -1) for row in rows]


def measure(metric: ValidationDice, predictions: list[list[int]], labels: list[list[int]]):
    metric(volumes(predictions), volumes(labels))
    return metric.aggregate()


def test_organs_that_no_label_has_are_left_out_and_invented_ones_counted():
    curves = measure(ValidationDice(5, NAMES), PREDICTIONS, LABELS)
    assert curves == pytest.approx(
        {
            "val_dice/liver": (2 / 3 + 1) / 2,
            "val_dice/spleen": 1.0,
            "val_invented/spleen": 1.0,  # by the second case
            "val_invented/aorta": 2.0,
            "val_invented/duodenum": 0.0,
        }
    )


def test_the_mean_is_monais():
    mean = measure(ValidationDice(5), PREDICTIONS, LABELS)
    monai = MeanDice(include_background=False, num_classes=5).metric_fn
    assert mean == pytest.approx(float(measure(monai, PREDICTIONS, LABELS)), abs=1e-7) and mean > 0.5


def test_without_any_organ_the_mean_is_no_number():
    empty = [[0] * 6] * 2
    assert math.isnan(measure(ValidationDice(5), PREDICTIONS, empty))
    assert not any("dice" in name for name in measure(ValidationDice(5, NAMES), PREDICTIONS, empty))
