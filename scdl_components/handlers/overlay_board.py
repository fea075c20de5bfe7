# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Overlays of reference and prediction on the image, in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.engine import Engine, Events
from monai.visualize import blend_images
from torch.utils.tensorboard import SummaryWriter


def overlay(image: torch.Tensor, label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Draw one colour a class over a grey slice: image [1, H, W] in [0, 1], label [1, H, W] -> [3, H, W] in [0, 1]."""
    # a fixed range keeps the colour of a class the same whatever classes a slice has
    scaled = label.float() / max(num_classes - 1, 1)
    return torch.as_tensor(blend_images(image, scaled, alpha=0.5, cmap="nipy_spectral", rescale_arrays=False))


class OverlayBoard:
    """Write the axial slice with most labeled voxels of each validation's first case: reference | prediction.

    Args:
        summary_writer: where to.
        num_classes: classes, background included.
        global_step: called for the step to write at, e.g. the trainer's iteration.
    """

    def __init__(self, summary_writer: SummaryWriter, num_classes: int, global_step: Callable[[], int]) -> None:
        self.writer = summary_writer
        self.num_classes = num_classes
        self.global_step = global_step

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.iteration % engine.state.epoch_length != 1 % engine.state.epoch_length:
            return
        output = engine.state.output[0]
        image, label, pred = (torch.as_tensor(output[key]).cpu() for key in ("image", "label", "pred"))
        z = int((label[0] > 0).sum(dim=(0, 1)).argmax())
        slices = [overlay(image[..., z].clamp(0, 1), mask[..., z], self.num_classes) for mask in (label, pred)]
        picture = torch.cat(slices, dim=1).transpose(1, 2).flip(1)
        self.writer.add_image("reference_and_prediction", picture, self.global_step())
        self.writer.flush()
