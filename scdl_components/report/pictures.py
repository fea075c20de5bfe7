# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of segmentations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, Orientation

from ..data.reader import VolumeReader

PLANES = ("sagittal", "coronal", "axial")  # by the axis that is cut, in RAS


def load_volume(path: str | Path) -> MetaTensor:
    """Load a NIfTI file or DICOM folder as [1, X, Y, Z] in RAS order.

    With the reader alone: ``LoadImage`` sets up all its readers and warns of those whose packages are not there.
    """
    reader = VolumeReader()
    voxels, meta = reader.get_data(reader.read(str(path)))
    volume = MetaTensor(torch.from_numpy(np.array(voxels, dtype=np.float32)), meta=meta)
    return Orientation("RAS", labels=None)(EnsureChannelFirst()(volume))  # a fourth axis of one is the channel


def best_slice(label: np.ndarray, axis: int) -> int:
    """Choose the slice along an axis with most classes, then most labeled voxels."""
    slices = np.moveaxis(label, axis, 0).reshape(label.shape[axis], -1)
    counts = [(len(np.unique(s[s > 0])), int((s > 0).sum())) for s in slices]
    return max(range(len(counts)), key=counts.__getitem__)


def three_planes(
    image: MetaTensor,
    masks: Mapping[str, torch.Tensor],
    class_names: Sequence[str],
    intensity_range: Sequence[float] = (-125, 275),
) -> Figure:
    """Draw a row for each plane: the image, then each mask on it.

    Args:
        image: HU [1, X, Y, Z] in RAS order.
        masks: title -> class indices [1, X, Y, Z]; the first one decides which slices are shown.
        class_names: names by class index, background first.
        intensity_range: HU shown as black and white.
    """
    spacing, volumes = image.pixdim.tolist(), {title: mask[0].numpy() for title, mask in masks.items()}
    first = next(iter(volumes.values()))
    colors = matplotlib.colormaps["tab20"](np.arange(len(class_names)) % 20)
    colors[0] = 0  # background is transparent
    grey = {"cmap": "gray", "vmin": intensity_range[0], "vmax": intensity_range[1]}
    colored = {"cmap": ListedColormap(colors), "vmin": -0.5, "vmax": len(colors) - 0.5, "alpha": 0.65}
    figure = Figure(figsize=(3.2 * (1 + len(volumes)) + 2, 9), dpi=110, layout="constrained")
    for row, axis in zip(figure.subplots(3, 1 + len(volumes)), (2, 1, 0)):
        index = best_slice(first, axis)
        width, height = (spacing[a] for a in range(3) if a != axis)

        def show(ax: Axes, volume: np.ndarray, style: dict, axis: int = axis, index: int = index) -> None:
            # the patient's right on the left of the picture, as radiologists look at it
            cut = np.take(volume, index, axis=axis).T[::-1, ::-1]
            ax.imshow(cut, aspect=height / width, interpolation="nearest", **style)

        for ax, (title, mask) in zip(row, [("image", None), *volumes.items()]):
            show(ax, image[0].numpy(), grey)
            if mask is not None:
                show(ax, mask, colored)
            ax.set_title(f"{title}, {PLANES[axis]}", fontsize=9)
            ax.set_axis_off()
    present = [c for c in range(1, len(class_names)) if any((mask == c).any() for mask in volumes.values())]
    patches = [Patch(color=colors[c], label=class_names[c]) for c in present]
    figure.legend(handles=patches, loc="outside right center", fontsize=8, frameon=False)
    return figure
