# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the values of an image are those of a CT in HU, and of one that the network can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .facts import VolumeFacts

NARROW_HU = 100  # air, water and bone span far more; an image that was scaled to [0, 1] does not
WIDEST_HU = 2**15  # of scanners with an extended scale, at metal; HU -1000 stored as unsigned is 64536
# a CT of a child in the widest field of view shows some 3 % of soft tissue, one that 1024 was subtracted from twice
# only its densest bone: in a real one 0.007 %
MIN_INSIDE = 0.01
DENSE_HU, MAX_DENSE = 800, 0.1  # cortical bone, teeth, metal; soft tissue lies there when 1000 or 1024 was added


def hu_problems(image: VolumeFacts, intensity_range: Sequence[float] | None = None) -> Iterator[tuple[str, bool]]:
    """Yields what is wrong with the values of a CT, and whether it is an error.

    Args:
        image: facts of an image that is not constant.
        intensity_range: HU that the network tells apart; None: not looked at.
    """
    low, high, total = image.minimum, image.maximum, image.counts.sum()
    found, way_out = f"values from {low:g} to {high:g}", "store the CT in HU (raw value × slope + intercept)"
    dense = image.counts[image.values > DENSE_HU].sum() / total
    if high < -500 or low > 100 or high - low < NARROW_HU or max(-low, high) > WIDEST_HU:
        yield f"{found} are not HU; {way_out}, not scaled", True
        return
    if low > -200 and dense > MAX_DENSE:
        yield (
            f"{found}, {dense:.0%} of them above {DENSE_HU} and no air: not HU, an offset of 1000 or 1024 is still in "
            f"them; {way_out}",
            True,
        )
        return
    if low >= 0 and high <= 255:
        yield f"{found} are the grey values of a picture, not HU; {way_out}, not a window of it", True
        return
    if low >= 0:
        yield f"{found}: neither air nor fat in it, is this CT in HU? If not, {way_out}", False
    black, white = intensity_range or (-np.inf, np.inf)
    inside = image.counts[(image.values >= black) & (image.values <= white)].sum() / total
    if inside < MIN_INSIDE:  # what lies outside is clipped to one value
        median = image.values[np.searchsorted(image.counts.cumsum(), total / 2)]
        yield (
            f"only {inside:.2%} of its voxels lie inside intensity_range ({black:g} to {white:g}), half of all at "
            f"{median} or below: nothing of it could be segmented. Store the CT in HU (was 1024 subtracted twice? Then "
            "add it), or give the key intensity_range the values of these images, in training and inference alike",
            True,
        )
