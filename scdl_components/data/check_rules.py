# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Rules of the input check, each from facts of files to problems."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes

from .case_entries import LISTS_WITH_LABELS
from .facts import HIGHEST, LOWEST, VolumeFacts
from .grid import axes_of, grid_distance, in_ras, is_degenerate
from .reader import CT, modality_of

MIN_SPACING, MAX_SPACING = 0.1, 20.0  # mm, of a CT
AFFINE_TOLERANCE = 0.1  # voxels between image and label at the volume's corners
HEADER_TOLERANCE = 1.0  # and between the sform and the qform of a header
SAME_SIZE = 1e-3  # mm; MONAI's Spacingd gives image and label one shape where their voxels differ by less
NARROW_HU = 100  # air, water and bone span far more; an image that was scaled to [0, 1] does not
WIDEST_HU = 2**15  # of scanners with an extended scale, at metal; HU -1000 stored as unsigned is 64536
# soft tissue is some 3 % of a child's CT in the widest field of view; where 1024 was subtracted twice, the densest
# bone alone lies inside: 0.007 % of a real CT
MIN_INSIDE = 0.01
DENSE_HU, MAX_DENSE = 800, 0.1  # cortical bone, teeth, metal; soft tissue lies there when 1000 or 1024 was added


@dataclass(frozen=True)
class CaseFacts:
    """A case of a list and the facts of its files; ``label`` may be None."""

    list_name: str
    image: VolumeFacts
    label: VolumeFacts | None = None


@dataclass(frozen=True)
class Problem:
    """One line of the report."""

    path: str
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{'ERROR' if self.is_error else 'warning'}: {self.path}: {self.message}"


def find_problems(
    cases: Sequence[CaseFacts],
    organs: Sequence[str],
    allow_overlap: Sequence[str] = (),
    other_modalities: Mapping[str, str] | None = None,
    intensity_range: Sequence[float] | None = None,
) -> list[Problem]:
    """Apply every rule to every case; list each problem once, by case.

    Args:
        cases: of all lists.
        organs: as the further arguments, see :class:`scdl_components.data.InputCheck`.
    """
    problems: list[Problem] = []
    for case in cases:
        image, label = case.image, case.label
        is_ct = modality_of(image.path, other_modalities or {}) == CT
        problems += volume_problems(image)
        problems += volume_problems(label) if label else ()
        problems += label_given_problems(case)
        problems += image_problems(image, is_ct, intensity_range) if not image.failure else ()
        if label and not label.failure:
            problems += fit_problems(image, label) if not image.failure else ()
            problems += label_problems(label, organs, case.list_name)
    problems += duplicate_problems(cases, allow_overlap)
    problems += missing_organ_problems(cases, organs)
    return list(dict.fromkeys(problems))


def volume_problems(volume: VolumeFacts) -> Iterator[Problem]:
    """Find what is wrong with any volume: unreadable, contradictory header, voxels not finite."""
    path, sizes = volume.path, _format(volume.spacing)
    if volume.failure:
        yield Problem(path, volume.failure)
        return
    if min(volume.shape) < 2:
        yield Problem(path, f"has one slice only, shape {volume.shape}; a volume needs 2 or more along each axis")
    if is_degenerate(volume.affine):
        yield Problem(path, "has a degenerate affine (NaN, zero or parallel axes); repair the header's sform")
    elif volume.spacing.min() < MIN_SPACING or volume.spacing.max() > MAX_SPACING:
        expected = f"expected {MIN_SPACING:g} to {MAX_SPACING:g} mm"
        yield Problem(path, f"has voxels of {sizes} mm; {expected}: correct the header (are its units not mm?)")
    if volume.other_affine is not None and not is_degenerate(volume.affine):
        yield from _affine_problems(volume)
    if volume.num_non_finite:
        yield Problem(path, f"has {volume.num_non_finite} NaN or infinite voxels; replace them (air in CT is -1000 HU)")


def _affine_problems(volume: VolumeFacts) -> Iterator[Problem]:
    """Compare the two affines of a NIfTI header, which different programs believe."""
    affines, way_out = (
        (volume.affine, volume.other_affine),
        "write the right one into both (nibabel: set_sform, set_qform)",
    )
    if is_degenerate(volume.other_affine):
        yield Problem(volume.path, f"has a degenerate qform beside a sound sform; {way_out}")
        return
    distance = grid_distance(*affines, volume.shape)
    if distance > HEADER_TOLERANCE:
        sizes, axes = [voxel_sizes(affine) for affine in affines], [axes_of(affine) for affine in affines]
        sform, qform = (f"{_format(size)} mm {axis}" for size, axis in zip(sizes, axes, strict=True))
        message = f"its sform ({sform}) and its qform ({qform}) lie up to {distance:.3g} voxels apart; {way_out}"
        # a mere shift or shear is usual where a volume was registered or the gantry tilted
        yield Problem(volume.path, message, is_error=axes[0] != axes[1] or not np.allclose(*sizes, rtol=1e-3))


def label_given_problems(case: CaseFacts) -> Iterator[Problem]:
    """Find a label that the list needs and lacks, or that is the image."""
    if case.list_name in LISTS_WITH_LABELS and case.label is None:
        message = f"in '{case.list_name}' without a label; give its label or move it to 'unlabeled'"
        yield Problem(case.image.path, message)
    elif case.label and os.path.realpath(case.label.path) == os.path.realpath(case.image.path):
        yield Problem(case.image.path, "is both image and label of a case; correct the case list")


def image_problems(image: VolumeFacts, is_ct: bool, intensity_range: Sequence[float] | None) -> Iterator[Problem]:
    """Find what is wrong with a readable image: unknown orientation, values that are no HU."""
    if not image.oriented and not is_degenerate(image.affine):
        message = (
            "its header does not say how the patient lies (sform and qform code 0); its voxel axes are taken to point "
            f"to {', '.join(axes_of(image.affine))} as nibabel and MONAI do: check that the result is not mirrored"
        )
        yield Problem(image.path, message, is_error=False)
    if image.values.size and image.minimum == image.maximum:
        yield Problem(image.path, f"is constant, all voxels are {image.minimum:g}; copy or convert it again")
    elif image.values.size and is_ct:
        yield from hu_problems(image, intensity_range)


def hu_problems(image: VolumeFacts, intensity_range: Sequence[float] | None) -> Iterator[Problem]:
    """Find values of a CT that are no HU, or outside of the network's range."""
    low, high, total = image.minimum, image.maximum, image.counts.sum()
    found, way_out = f"values from {low:g} to {high:g}", "store the CT in HU (raw value × slope + intercept)"
    dense = image.counts[image.values > DENSE_HU].sum() / total
    if high < -500 or low > 100 or high - low < NARROW_HU or max(-low, high) > WIDEST_HU:
        yield Problem(image.path, f"{found} are not HU; {way_out}, not scaled")
        return
    if low > -200 and dense > MAX_DENSE:
        message = (
            f"{found}, {dense:.0%} of them above {DENSE_HU} and no air: not HU, an offset of 1000 or 1024 is still in"
        )
        yield Problem(image.path, f"{message} them; {way_out}")
        return
    if low >= 0 and high <= 255:
        yield Problem(image.path, f"{found} are the grey values of a picture, not HU; {way_out}, not a window of it")
        return
    if low >= 0:
        message = f"{found}: neither air nor fat in it, is this CT in HU? If not, {way_out}"
        yield Problem(image.path, message, is_error=False)
    black, white = intensity_range or (-np.inf, np.inf)
    inside = image.counts[(image.values >= black) & (image.values <= white)].sum() / total
    if inside < MIN_INSIDE:  # what lies outside is clipped to one value
        median = image.values[np.searchsorted(image.counts.cumsum(), total / 2)]
        yield Problem(
            image.path,
            f"only {inside:.2%} of its voxels lie inside intensity_range ({black:g} to {white:g}), half of all at "
            f"{median} or below: nothing of it could be segmented. Store the CT in HU (was 1024 subtracted twice? Then "
            "add it), or give the key intensity_range the values of these images, in training and inference alike",
        )


def fit_problems(image: VolumeFacts, label: VolumeFacts) -> Iterator[Problem]:
    """Find a label that does not lie on its image."""
    if is_degenerate(image.affine) or is_degenerate(label.affine):
        return
    # the axes may be stored in another order and direction: the transforms bring both to RAS
    image_affine, image_shape = in_ras(image.affine, image.shape)
    label_affine, label_shape = in_ras(label.affine, label.shape)
    way_out = "resample it (nearest) to the image's grid"
    if image_shape != label_shape:
        yield Problem(
            label.path,
            f"has shape {label_shape}, its image '{image.path}' has {image_shape} (in RAS order); give the label of "
            f"this image, or {way_out}",
        )
        return
    distance = grid_distance(image_affine, label_affine, image_shape)
    sizes = voxel_sizes(label_affine), voxel_sizes(image_affine)
    if distance > AFFINE_TOLERANCE:
        yield Problem(
            label.path,
            f"lies up to {distance:.3g} voxels off its image '{image.path}' (affines differ); {way_out}; only where "
            "its voxels are stored in the image's order and its header alone is wrong, copy the image's affine",
        )
    elif not np.allclose(*sizes, atol=SAME_SIZE):
        yield Problem(
            label.path,
            f"has voxels of {_format(sizes[0])} mm, its image '{image.path}' of {_format(sizes[1])} mm (in RAS order): "
            "resampled, the two could differ in shape; copy the image's affine",
        )


def label_problems(label: VolumeFacts, organs: Sequence[str], list_name: str) -> Iterator[Problem]:
    """Find values of a readable label outside the organ table, or an empty label."""
    if label.num_fractional:
        yield Problem(label.path, f"has {label.num_fractional} voxels that are no integers; round them, store as uint8")
        return
    outside = [value for value in label.values.tolist() if not 0 <= value <= len(organs)]
    extremes = [int(value) for value in (label.minimum, label.maximum) if value < LOWEST or value > HIGHEST]
    if outside or extremes:
        outside = [value for value in outside if LOWEST < value < HIGHEST or not extremes] + extremes
        table = ", ".join(f"{value} {organ}" for value, organ in enumerate(organs, start=1))
        message = f"has values {_format(outside)} outside the organ table (0 background, {table}); map them"
        yield Problem(label.path, message)
    elif label.maximum == 0:
        needed = list_name == "labeled"
        what = "draw it, or move the case to 'unlabeled'" if needed else "no organ can be scored here"
        yield Problem(label.path, f"is empty, all voxels are background; {what}", is_error=needed)


def duplicate_problems(cases: Sequence[CaseFacts], allow_overlap: Sequence[str]) -> Iterator[Problem]:
    """Find images with the same voxels: an error across lists, a warning within one."""
    first_in: dict[str, dict[str, str]] = {}  # by fingerprint: the first image of each list
    for case in cases:
        image, list_name = case.image, case.list_name
        if image.failure or len(image.values) < 2:
            continue
        firsts = first_in.setdefault(image.fingerprint, {})
        for other, first in firsts.items():
            message = f"in '{list_name}' has the voxels of '{first}' in '{other}'"
            if other == list_name:
                yield Problem(image.path, f"{message}; list it once, or it counts twice", is_error=False)
            elif not {other, list_name} <= set(allow_overlap):
                way_out = "a case belongs to one list; take it out of one, or name both in allow_overlap"
                yield Problem(image.path, f"{message}; {way_out}")
        firsts.setdefault(list_name, image.path)


def missing_organ_problems(cases: Sequence[CaseFacts], organs: Sequence[str]) -> Iterator[Problem]:
    """Find organs that no labeled case shows, which cannot be learned."""
    labels = [case.label for case in cases if case.list_name == "labeled" and case.label and not case.label.failure]
    voxels = [label.organ_voxels(organs) for label in labels]
    missing = [organ for organ in organs if voxels and not any(found[organ] for found in voxels)]
    if missing:
        message = f"no case shows {', '.join(missing)}, which cannot be learned; add a labeled case that does"
        yield Problem("labeled", message, is_error=False)


def _format(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in list(values)[:20])
    return shown + (f", ... ({len(values)} in all)" if len(values) > 20 else "")
