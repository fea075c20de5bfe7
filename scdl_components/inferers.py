# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Sliding windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import SlidingWindowInferer

from .memory import give_back, reused_memory

Predictor = Callable[[torch.Tensor], torch.Tensor]


class ActivatedSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's sliding window over the activated output of each window; what is all air is run once.

    On a CPU windows use one another's memory (:func:`~scdl_components.memory.reused_memory`).

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
        """Output [B, C, *spatial] of ``network`` on ``inputs`` [B, channels, *spatial], put together of windows."""

        @once_for_constant
        @reused_memory()
        def predict(windows: torch.Tensor) -> torch.Tensor:
            return self.activation(network(windows, *args, **kwargs))

        try:
            return super().__call__(inputs, predict)
        finally:
            give_back()


def once_for_constant(network: Predictor) -> Predictor:
    """The network, run once for all windows of one and the same constant: clipped to [0, 1], air is 0 everywhere.

    Exact up to rounding for every network that treats the samples of a batch apart, as all do in evaluation.
    """
    answers: dict[tuple[float, ...], torch.Tensor] = {}

    def predict(windows: torch.Tensor) -> torch.Tensor:
        channels = windows.flatten(2)
        constant = (channels == channels[..., :1]).flatten(1).all(1).tolist()
        if not any(constant):
            return network(windows)
        varied = [index for index, same in enumerate(constant) if not same]
        outputs = dict(zip(varied, network(windows[varied]))) if varied else {}
        for index in set(range(len(constant))) - set(varied):
            value = tuple(channels[index, :, 0].tolist())
            if value not in answers:
                answers[value] = network(windows[index : index + 1])[0]
            outputs[index] = answers[value]
        return torch.stack([outputs[index] for index in range(len(constant))])

    return predict


def voxels_that_fit(device: torch.device | str, num_classes: int, share: float = 0.5) -> int | None:
    """Largest volume whose outputs a GPU can hold while windows run; larger ones are put together in main memory.

    Args:
        device: of the network.
        num_classes: channels of the output.
        share: of the memory free now that outputs may take.

    Returns:
        ``cpu_thresh`` of MONAI's SlidingWindowInferer in voxels; None on a CPU.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return voxels_in(int(free * share), num_classes)


def voxels_in(num_bytes: int, num_classes: int) -> int:
    """Voxels whose outputs and weights, float32, take so many bytes; the input and one copy count, too."""
    return num_bytes // (4 * (num_classes + 3))
