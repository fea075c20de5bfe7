# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Sliding windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import SlidingWindowInferer


class ActivatedSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's sliding window over the activated output of each window.

    With softmax, constant weights and the published windows it is the published inference
    (``reference/sliding_window.npz``): probabilities are averaged, not logits.

    Args:
        activation: applied to each window's logits [B, C, *roi_size].
        kwargs: arguments of MONAI's SlidingWindowInferer.
    """

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor], **kwargs) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args, **kwargs):
        return super().__call__(inputs, lambda x, *a, **k: self.activation(network(x, *a, **k)), *args, **kwargs)
