# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Unlabeled cases of a training: of the case list, or beside labeled cases.

MONAI Label replaces the config's labeled cases by the studies with a final label, and its validation cases by part of
them. It does not tell the config of studies without a label; they lie in the same folder.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .inputs import is_nifti, visible
from .reader import CT, modality_of

# of MONAI Label's datastore, below the studies
FINAL_LABELS = ("labels", "final")


class UnlabeledStream(NamedTuple):
    """Items ``{"image": path}`` and how many of them a batch has; and the case list's test cases, which none may be."""

    cases: list[dict[str, str]]
    batch_size: int
    test: list[dict[str, str]] = []


def unlabeled_stream(
    labeled: Sequence[Mapping[str, str]],
    validation: Sequence[Mapping[str, str]],
    load_cases: Callable[[], Mapping[str, list[dict[str, str]]]],
    batch_size: int,
) -> UnlabeledStream:
    """Find the unlabeled cases that belong to a training's labeled ones.

    Where the labeled cases are of the case list, so are the unlabeled ones. Else they are the images in the labeled
    cases' folders, but for those that are labeled, in ``validation``, held out by the case list, or made of a DICOM
    series of another modality. Where there are none, training warns, and goes on with the labeled cases alone.

    Args:
        labeled: items ``{"image": path, "label": path}`` of the training.
        validation: items of its validation.
        load_cases: reads the case list, as :func:`scdl_components.data.load_cases`. A ``UserError`` counts as no list:
            a training on the list's labeled cases has met it before.
        batch_size: unlabeled samples of a batch; with 0 no unlabeled case is looked for.
    """
    try:
        lists = load_cases()
    except UserError:
        lists = {}
    if _files(labeled) <= _files(lists.get("labeled", ())):
        unlabeled = list(lists.get("unlabeled", ())) if batch_size else []
        return UnlabeledStream(unlabeled, batch_size, list(lists.get("test", ())))
    if not batch_size:
        return UnlabeledStream([], 0)
    taken = _files(labeled) | _files(validation) | _files(lists.get("validation", ())) | _files(lists.get("test", ()))
    folders = sorted({_study_folder(item) for item in labeled})
    files = [path for folder in folders for path in filter(is_nifti, visible(folder))]
    images = [path for path in files if os.path.realpath(path) not in taken and modality_of(path, {}) == CT]
    if not images:
        warnings.warn(
            f"no image without a label in {', '.join(folders)}: training on the {len(labeled)} labeled alone. Put "
            "images there that have no label to learn from them, too",
            UserWarning,
            stacklevel=2,
        )
    return UnlabeledStream([{"image": path} for path in images], batch_size if images else 0)


def _study_folder(item: Mapping[str, str]) -> str:
    """Find the study folder of an item.

    MONAI Label resolves links, so the image may be far from it; its label is not.
    """
    label_folder = Path(item.get("label") or "").parent
    if label_folder.parts[-2:] == FINAL_LABELS:
        return str(label_folder.parents[1])
    return os.path.dirname(os.path.abspath(item["image"]))


def _files(items: Iterable[Mapping[str, str]]) -> set[str]:
    """Resolve the links of the items' images."""
    return {os.path.realpath(item["image"]) for item in items}
