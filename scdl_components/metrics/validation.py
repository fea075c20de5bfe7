# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Dice of a validation, where a case may lack organs."""

from collections.abc import Sequence

import torch
from monai.metrics import DiceMetric


class ValidationDice(DiceMetric):
    """MONAI's Dice, with absent organs left out and invented ones counted.

    A case counts for the organs that its label has, and an organ that no label has is left out, where MONAI gives it 0.
    Without names the result is the mean over organs, then over cases, NaN where no label has any organ. With names it
    is ``val_dice/<organ>``, each organ's mean over cases, and for organs that a label lacks ``val_invented/<organ>``,
    the number of such cases that it was found in.

    Args:
        num_classes: with the background.
        names: of the organs, in the order of their values.
    """

    def __init__(self, num_classes: int, names: Sequence[str] = ()) -> None:
        super().__init__(include_background=False, num_classes=num_classes)
        self.names = names

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        dice = super()._compute_tensor(y_pred, y)
        found = torch.stack([(y_pred == organ).flatten(1).any(1) for organ in range(1, self.num_classes)], dim=1)
        return torch.stack([dice, (dice.isnan() & found).to(dice)], dim=2)

    def aggregate(self) -> float | dict[str, float]:
        """Compute the mean, or the values of the curves by name."""
        dice, invented = self.get_buffer().unbind(2)  # each [cases, organs]
        if not self.names:
            return float(dice.nanmean(1).nanmean(0))
        lacking, means = dice.isnan(), dice.nanmean(0).tolist()
        curves = {f"val_dice/{name}": mean for name, mean in zip(self.names, means) if mean == mean}
        counts = zip(self.names, lacking.any(0).tolist(), invented.sum(0).tolist())
        return curves | {f"val_invented/{name}": count for name, lacks, count in counts if lacks}
