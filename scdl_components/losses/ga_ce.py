# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient-aware cross entropy of the hardest voxels (GALoss, ECCV 2024)."""

from torch import Tensor, nn

from ..errors import SettingError
from .functional import ga_cross_entropy


class GACELoss(nn.Module):
    """GA-CE: cross entropy of the hardest voxels, balanced by class.

    Per class it is Σ CE / (n_c^(1 - γ) K^γ) over the ``top_k`` % hardest voxels, summed over classes. Source: GALoss
    (ECCV 2024); docs/method.md; numbers in ``reference/ga_losses.npz``.

    >>> logits, target = torch.randn(2, 14, 24, 24, 24, requires_grad=True), torch.randint(14, (2, 1, 24, 24, 24))
    >>> GACELoss()(logits, target).backward()

    Args:
        top_k: percent of the voxels that are kept, those of largest cross entropy (of all ranks); 100 keeps all.
        gamma: 0 weighs every class alike, 1 every voxel alike.

    Raises:
        SettingError: when ``top_k`` is not in (0, 100].
    """

    def __init__(self, top_k: float = 10.0, gamma: float = 0.5) -> None:
        super().__init__()
        if not 0 < top_k <= 100:
            raise SettingError(f"top_k is a percentage in (0, 100], got {top_k}")
        self.top_k = top_k
        self.gamma = gamma

    def forward(self, input: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Compute the loss of logits [B, C, *spatial] against class indices [B, 1, *spatial]."""
        return ga_cross_entropy(input, target, self.top_k, self.gamma, class_weights)
