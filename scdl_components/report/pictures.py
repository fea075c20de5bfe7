# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, Orientation

from ..data.nifti import UNREADABLE
from ..data.reader import VolumeReader
from ..errors import InputError

PLANES = ("sagittal", "coronal", "axial")  # by the axis that is cut, in RAS


def load_volume(path: str | Path) -> MetaTensor:
    """A volume [1, X, Y, Z] of a NIfTI file or a DICOM folder in RAS order, with its affine.

    With the reader alone: ``LoadImage`` sets up all its readers and warns of those whose packages are not there.

    Raises:
        InputError: it cannot be read.
    """
    reader = VolumeReader()
    try:
        voxels, meta = reader.get_data(reader.read(str(path)))
    except UNREADABLE as error:
        raise InputError(f"'{path}' cannot be drawn, as it cannot be read ({error}); copy it again") from error
    volume = MetaTensor(torch.from_numpy(np.array(voxels, dtype=np.float32)), meta=meta)
    return Orientation("RAS", labels=None)(EnsureChannelFirst()(volume))  # a fourth axis of one is the channel


def class_colors(num_classes: int) -> np.ndarray:
    """RGBA colours [num_classes, 4]; background is transparent."""
    colors = matplotlib.colormaps["tab20"](np.arange(num_classes) % 20)
    colors[0] = 0
    return colors


def best_slice(label: np.ndarray, axis: int) -> int:
    """Index along the axis of the slice [of label, 3-D class indices] with most classes, then most labelled voxels."""
    slices = np.moveaxis(label, axis, 0).reshape(label.shape[axis], -1)
    counts = [(len(np.unique(s[s > 0])), int((s > 0).sum())) for s in slices]
    return max(range(len(counts)), key=counts.__getitem__)


def three_planes(
    image: np.ndarray,
    masks: dict[str, np.ndarray],
    spacing: Sequence[float],
    class_names: Sequence[str],
    path: str | Path,
    intensity_range: Sequence[float] = (-125, 275),
) -> None:
    """Writes a PNG: a row a plane; the image, then each mask on it.

    Args:
        image: HU [X, Y, Z] in RAS.
        masks: title -> class indices [X, Y, Z]; the first one decides which slices are shown.
        spacing: voxel size in mm.
        class_names: names by class index, background first.
        path: PNG to write.
        intensity_range: HU shown as black and white.
    """
    first = next(iter(masks.values()))
    colors = class_colors(len(class_names))
    figure = Figure(figsize=(3.2 * (1 + len(masks)) + 2, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1 + len(masks))
    for row, axis in zip(axes, (2, 1, 0)):
        index = best_slice(first, axis)
        width, height = (spacing[a] for a in range(3) if a != axis)

        def cut(volume: np.ndarray, axis: int = axis, index: int = index) -> np.ndarray:
            # the patient's right on the left of the picture, as radiologists look at it
            return np.take(volume, index, axis=axis).T[::-1, ::-1]

        for ax, (title, mask) in zip(row, [("image", None), *masks.items()]):
            shown = {"aspect": height / width, "interpolation": "nearest"}
            ax.imshow(cut(image), cmap="gray", vmin=intensity_range[0], vmax=intensity_range[1], **shown)
            if mask is not None:
                ax.imshow(
                    cut(mask), cmap=ListedColormap(colors), vmin=-0.5, vmax=len(colors) - 0.5, alpha=0.65, **shown
                )
            ax.set_title(f"{title}, {PLANES[axis]}", fontsize=9)
            ax.set_axis_off()
    present = [c for c in range(1, len(class_names)) if any((mask == c).any() for mask in masks.values())]
    figure.legend(
        handles=[Patch(color=colors[c], label=class_names[c]) for c in present],
        loc="outside right center",
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path)
