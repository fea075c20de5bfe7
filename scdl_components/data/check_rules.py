# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a data set: rules over the facts of its files.

A rule looks at the facts of one case, or of all cases, and yields what is wrong. To check one more thing, write a rule
and add it to ``CASE_RULES`` or ``LIST_RULES``.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from scdl_components.data.case_list import LISTS_WITH_LABELS
from scdl_components.data.dicom import MAX_VOXELS
from scdl_components.data.facts import HIGHEST, LOWEST, VolumeFacts
from scdl_components.data.modality import CT, modality_of

NARROW_HU = 100  # air, water and bone span far more; an image that was scaled to [0, 1] does not
WIDEST_HU = 2**15  # of scanners with an extended scale, at metal; HU -1000 stored as unsigned is 64536
DENSE_HU, MAX_DENSE = 800, 0.1  # cortical bone, teeth, metal; soft tissue lies there when 1000 or 1024 was added


@dataclass(frozen=True)
class Limits:
    """What is still believed.

    Attributes:
        max_voxels: larger volumes are refused unread (2³⁰ voxels are 4 GiB once MONAI has loaded them).
        min_spacing: smallest voxel size of a CT, in mm.
        max_spacing: largest, in mm.
        affine_tolerance: how far image and label may be apart at the volume's corners, in voxels.
        header_tolerance: how far apart the sform and the qform of one header may be there, in voxels.
    """

    max_voxels: int = MAX_VOXELS
    min_spacing: float = 0.1
    max_spacing: float = 20.0
    affine_tolerance: float = 0.1
    header_tolerance: float = 1.0


@dataclass(frozen=True)
class CaseFacts:
    """A case of a list and what its files hold; ``label`` is None where the list gives none."""

    list_name: str
    image: VolumeFacts
    label: VolumeFacts | None = None

    @property
    def volumes(self) -> list[VolumeFacts]:
        """Image and label, as far as they could be read."""
        return [volume for volume in (self.image, self.label) if volume and not volume.failure]

    def organ_voxels(self, organs: Sequence[str]) -> dict[str, int]:
        """Voxels of each organ in the label; ``organs[i]`` has the value i + 1."""
        label = self.label
        found = dict(zip(label.values.tolist(), label.counts.tolist(), strict=True)) if label else {}
        return {organ: found.get(value, 0) for value, organ in enumerate(organs, start=1)}


@dataclass(frozen=True)
class Context:
    """What the rules need besides the facts; as the arguments of :class:`scdl_components.data.check.InputCheck`."""

    organs: Sequence[str]
    allow_overlap: Sequence[str]
    limits: Limits
    other_modalities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One line of the report."""

    path: str
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{'ERROR' if self.is_error else 'warning'}: {self.path}: {self.message}"


def check_readable(case: CaseFacts, context: Context) -> Iterator[Problem]:
    for volume in (case.image, case.label):
        if volume and volume.failure:
            yield Problem(volume.path, volume.failure)


def check_label_given(case: CaseFacts, context: Context) -> Iterator[Problem]:
    if case.list_name in LISTS_WITH_LABELS and case.label is None:
        yield Problem(
            case.image.path, f"in '{case.list_name}' without a label; give its label or move it to 'unlabeled'"
        )
    elif case.label and os.path.realpath(case.label.path) == os.path.realpath(case.image.path):
        yield Problem(case.image.path, "is both image and label of a case; correct the case list")


def check_grid(case: CaseFacts, context: Context) -> Iterator[Problem]:
    limits = context.limits
    for volume in case.volumes:
        if min(volume.shape) < 2:
            yield Problem(
                volume.path, f"has one slice only, shape {volume.shape}; a volume needs 2 or more along each axis"
            )
        if _is_degenerate(volume.affine):
            yield Problem(
                volume.path, "has a degenerate affine (NaN, zero or parallel axes); repair the header's sform"
            )
        elif volume.spacing.min() < limits.min_spacing or volume.spacing.max() > limits.max_spacing:
            yield Problem(
                volume.path,
                f"has voxels of {_format(volume.spacing)} mm; expected {limits.min_spacing:g} to {limits.max_spacing:g}"
                " mm: correct the header (are its units not mm?)",
            )
    if not case.image.failure and not case.image.oriented:
        message = "its header does not say how the patient lies (sform and qform code 0); RAS directions are guessed"
        yield Problem(case.image.path, message + ", check that the result is not mirrored", is_error=False)


def check_header_agrees(case: CaseFacts, context: Context) -> Iterator[Problem]:
    """A NIfTI header can hold two affines; programs that believe different ones see the patient differently."""
    way_out = "write the right one into both (nibabel: set_sform and set_qform)"
    for volume in case.volumes:
        if volume.other_affine is None or _is_degenerate(volume.affine):
            continue
        if _is_degenerate(volume.other_affine):
            yield Problem(volume.path, f"has a degenerate qform or voxel size of 0 beside a sound sform; {way_out}")
            continue
        distance = grid_distance(volume.affine, volume.other_affine, volume.shape)
        if distance <= context.limits.header_tolerance:
            continue
        affines = volume.affine, volume.other_affine
        sizes, axes = [voxel_sizes(affine) for affine in affines], [axes_of(affine) for affine in affines]
        sform, qform = (f"{_format(size)} mm {axis}" for size, axis in zip(sizes, axes, strict=True))
        message = f"its sform ({sform}) and its qform ({qform}) lie up to {distance:.3g} voxels apart; {way_out}"
        # a mere shift or shear is usual where a volume was registered or the gantry tilted
        yield Problem(volume.path, message, is_error=axes[0] != axes[1] or not np.allclose(*sizes, rtol=1e-3))


def check_intensities(case: CaseFacts, context: Context) -> Iterator[Problem]:
    for volume in case.volumes:
        if volume.num_non_finite:
            yield Problem(
                volume.path, f"has {volume.num_non_finite} NaN or infinite voxels; replace them (air in CT is -1000 HU)"
            )
    image = case.image
    if image.failure or not image.values.size:
        return
    low, high = image.minimum, image.maximum
    if low == high:
        yield Problem(image.path, f"is constant, all voxels are {low:g}; copy or convert it again")
    elif modality_of(image.path, context.other_modalities) == CT:  # check_modalities tells of the others
        yield from _check_hu(image)


def _check_hu(image: VolumeFacts) -> Iterator[Problem]:
    low, high = image.minimum, image.maximum
    found, way_out = f"values from {low:g} to {high:g}", "store the CT in HU (raw value × slope + intercept)"
    dense = image.counts[image.values > DENSE_HU].sum() / image.counts.sum()
    if high < -500 or low > 100 or high - low < NARROW_HU or max(-low, high) > WIDEST_HU:
        yield Problem(image.path, f"{found} are not HU; {way_out}, not scaled")
    elif low > -200 and dense > MAX_DENSE:
        yield Problem(
            image.path,
            f"{found}, {dense:.0%} of them above {DENSE_HU} and no air: not HU, an offset of 1000 or 1024 is still in "
            f"them; {way_out}",
        )
    elif low >= 0 and high <= 255:
        yield Problem(image.path, f"{found} are the grey values of a picture, not HU; {way_out}, not a window of it")
    elif low >= 0:
        message = f"{found}: neither air nor fat in it, is this CT in HU? If not, {way_out}"
        yield Problem(image.path, message, is_error=False)


def check_label_fits(case: CaseFacts, context: Context) -> Iterator[Problem]:
    if len(case.volumes) < 2:
        return
    image, label = case.volumes
    if image.shape != label.shape:
        yield Problem(
            label.path,
            f"has shape {label.shape}, its image '{image.path}' has {image.shape}; give the label of this image, or "
            "resample it (nearest) to the image's grid",
        )
    elif not _is_degenerate(image.affine) and not _is_degenerate(label.affine):
        distance = grid_distance(image.affine, label.affine, image.shape)
        if distance > context.limits.affine_tolerance:
            yield Problem(
                label.path,
                f"lies up to {distance:.3g} voxels off its image '{image.path}' (affines differ); resample it "
                "(nearest) to the image's grid, or copy the image's affine if only the header is wrong",
            )


def check_label_values(case: CaseFacts, context: Context) -> Iterator[Problem]:
    label = case.label
    if not label or label.failure or not label.values.size:
        return
    if label.num_fractional:
        yield Problem(
            label.path, f"has {label.num_fractional} voxels that are no integers; round them and store it as uint8"
        )
        return
    outside = [value for value in label.values.tolist() if not 0 <= value <= len(context.organs)]
    extremes = [int(value) for value in (label.minimum, label.maximum) if not LOWEST <= value <= HIGHEST]
    if outside or extremes:
        outside = [value for value in outside if LOWEST < value < HIGHEST or not extremes] + extremes
        table = ", ".join(f"{value} {organ}" for value, organ in enumerate(context.organs, start=1))
        yield Problem(
            label.path, f"has values {_format(outside)} outside the organ table (0 background, {table}); map them"
        )
    elif label.maximum == 0:
        message = "is empty, all voxels are background; " + (
            "draw it, or move the case to 'unlabeled'" if case.list_name == "labeled" else "no organ can be scored here"
        )
        yield Problem(label.path, message, is_error=case.list_name == "labeled")


def check_duplicates(cases: Sequence[CaseFacts], context: Context) -> Iterator[Problem]:
    """Images with the same voxels: an error across lists, which may not share cases, a warning within one."""
    groups: dict[str, list[CaseFacts]] = {}
    for case in cases:
        if not case.image.failure and len(case.image.values) > 1:
            groups.setdefault(case.image.fingerprint, []).append(case)
    for group in groups.values():
        first_in: dict[str, CaseFacts] = {}
        for case in group:
            for list_name, first in first_in.items():
                same_list = list_name == case.list_name
                if not same_list and {list_name, case.list_name} <= set(context.allow_overlap):
                    continue
                way_out = (
                    "list it once, or it counts twice"
                    if same_list
                    else "a case belongs to one list; take it out of one, or name both in allow_overlap"
                )
                message = f"in '{case.list_name}' has the voxels of '{first.image.path}' in '{list_name}'; {way_out}"
                yield Problem(case.image.path, message, is_error=not same_list)
            first_in.setdefault(case.list_name, case)


def check_organs_labeled(cases: Sequence[CaseFacts], context: Context) -> Iterator[Problem]:
    """Organs that no labeled case shows cannot be learned."""
    labeled = [case for case in cases if case.list_name == "labeled" and case.label and not case.label.failure]
    voxels = [case.organ_voxels(context.organs) for case in labeled]
    missing = [organ for organ in context.organs if voxels and not any(found[organ] for found in voxels)]
    if missing:
        message = f"no case shows {', '.join(missing)}, which cannot be learned; add a labeled case that does"
        yield Problem("labeled", message, is_error=False)


def check_modalities(cases: Sequence[CaseFacts], context: Context) -> Iterator[Problem]:
    """Images that are no CT are windowed as if their values were HU; the case list says whether they may be there."""
    modalities = Counter(modality_of(case.image.path, context.other_modalities) for case in cases)
    for modality in sorted(modalities.keys() - {CT}):
        message = f"{modalities[modality]} of {len(cases)} images are no CT; they are clipped as if in HU"
        yield Problem(modality, message, is_error=False)


CASE_RULES = (
    check_readable,
    check_label_given,
    check_grid,
    check_header_agrees,
    check_intensities,
    check_label_fits,
    check_label_values,
)
LIST_RULES = (check_duplicates, check_organs_labeled, check_modalities)


def find_problems(cases: Sequence[CaseFacts], context: Context) -> list[Problem]:
    """Apply every rule to every case; each problem once, those of the cases in their order."""
    problems = [problem for case in cases for rule in CASE_RULES for problem in rule(case, context)]
    problems += [problem for rule in LIST_RULES for problem in rule(cases, context)]
    return list(dict.fromkeys(problems))


def grid_distance(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """Largest distance between two grids of one shape, over their corner voxels, in voxels of the first."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, length - 1) for length in shape))])
    offsets = (corners @ (affine - other).T)[:, :3]
    return float(np.linalg.norm(offsets @ np.linalg.inv(affine[:3, :3]).T, axis=1).max())


def axes_of(affine: np.ndarray) -> str:
    """Where the voxel axes point to in the patient, e.g. ``LPS``."""
    return "".join(axis or "?" for axis in nib.aff2axcodes(affine))


def _is_degenerate(affine: np.ndarray) -> bool:
    if not np.isfinite(affine).all():
        return True
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-2)


def _format(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in list(values)[:20])
    return shown + (f", ... ({len(values)} in all)" if len(values) > 20 else "")
