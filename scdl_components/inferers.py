# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Sliding windows."""

from collections.abc import Callable

import torch
from monai.inferers import SlidingWindowInfererAdapt

from .memory import give_back, reused_memory


class ActivatedSlidingWindowInferer(SlidingWindowInfererAdapt):
    """Slide MONAI's window over a volume and average the windows' activated outputs.

    With softmax, constant weights and the published windows it is the published inference
    (``reference/sliding_window.npz``), which averages probabilities and not logits. Where a GPU has no room for the
    output, MONAI's class puts it together in main memory. On a CPU windows reuse memory
    (:func:`~scdl_components.memory.reused_memory`).

    Args:
        activation: applied to each window's logits [B, C, *roi_size].
        kwargs: arguments of MONAI's SlidingWindowInfererAdapt.
    """

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor], **kwargs) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args, **kwargs):
        """Compute the output [B, C, *spatial] of ``network`` on ``inputs`` [B, channels, *spatial]."""

        @reused_memory()
        def predict(windows: torch.Tensor) -> torch.Tensor:
            return self.activation(network(windows, *args, **kwargs))

        try:
            return super().__call__(inputs, predict)
        finally:
            give_back()
