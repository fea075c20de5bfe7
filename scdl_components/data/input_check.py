# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Input check: every file is read before anything runs; one report has all problems."""

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from tqdm.contrib.concurrent import thread_map

from ..distributed import on_rank_zero
from ..errors import InputError
from .case_entries import LISTS
from .check_rules import CaseFacts, Problem, find_problems
from .dicom import read_series
from .disk_cache import DiskCache
from .facts import VolumeFacts, read_facts


class InputCheck:
    """Read all files of the lists, and refuse them with one report.

    Args:
        organs: names of the organs; ``organs[i]`` has the label value i + 1, 0 is background.
        labeled: items ``{"image": path, "label": path}``.
        unlabeled: items ``{"image": path}``; a label in them is not looked at.
        validation: items with image and label.
        test: items with an image and, where there is one, a label.
        allow_overlap: names of lists that may share cases among one another.
        other_modalities: of each modality that is not CT, a regular expression that finds its images by their file
            names; their values need not be HU.
        intensity_range: HU that the network tells apart; an image with almost no voxel in it is refused.
        cache_dir: folder that keeps the facts of a file by its content, so that the next check only hashes it; default
            none.
    """

    def __init__(
        self,
        organs: Sequence[str],
        labeled: Sequence[Mapping[str, str]] = (),
        unlabeled: Sequence[Mapping[str, str]] = (),
        validation: Sequence[Mapping[str, str]] = (),
        test: Sequence[Mapping[str, str]] = (),
        allow_overlap: Sequence[str] = (),
        other_modalities: Mapping[str, str] | None = None,
        intensity_range: Sequence[float] | None = None,
        cache_dir: str | os.PathLike | Literal[False] | None = None,
    ) -> None:
        self.organs = list(organs)
        self.lists = dict(zip(LISTS, (labeled, unlabeled, validation, test), strict=True))
        self.rules = {
            "allow_overlap": allow_overlap,
            "other_modalities": other_modalities,
            "intensity_range": intensity_range,
        }
        self.cache_dir = cache_dir

    @on_rank_zero
    def run(self) -> list[CaseFacts]:
        """Check the lists.

        Returns:
            The facts of every case. Warnings have been reported in one ``UserWarning``.

        Raises:
            InputError: at least one problem; the message has a line for each, warnings included.
        """
        cases, problems = self.survey()
        report = "\n".join(map(str, [f"the input has {count(problems)}:", *problems]))
        if any(problem.is_error for problem in problems):
            raise InputError(report)
        if problems:
            warnings.warn(report, UserWarning, stacklevel=2)
        return cases

    def survey(self) -> tuple[list[CaseFacts], list[Problem]]:
        """Read the lists; return the facts of every case and all problems, errors first."""
        items, problems = [], []
        for list_name, values in self.lists.items():
            for index, value in enumerate(values):
                item = value if isinstance(value, Mapping) else {}
                image, label = item.get("image"), item.get("label") if list_name != "unlabeled" else None
                if isinstance(image, (str, os.PathLike)) and isinstance(label, (str, os.PathLike, type(None))):
                    items.append((list_name, os.fspath(image), os.fspath(label) if label else None))
                else:
                    message = f"is {value!r}; expected an item with the path of one image and, if any, of one label"
                    problems.append(Problem(f"{list_name}[{index}]", message))
        facts = read_files([path for _, *files in items for path in files if path], self.cache_dir)
        cases = [CaseFacts(name, facts[image], facts[label] if label else None) for name, image, label in items]
        problems += find_problems(cases, self.organs, **self.rules)
        return cases, sorted(problems, key=lambda problem: not problem.is_error)


def count(problems: Sequence[Problem]) -> str:
    """Say how many errors and warnings there are."""
    errors = sum(problem.is_error for problem in problems)
    return f"{errors} error(s), {len(problems) - errors} warning(s)"


def read_files(
    paths: Sequence[str], cache_dir: str | os.PathLike | Literal[False] | None = None
) -> dict[str, VolumeFacts]:
    """Read each of the files once, several at a time; ``cache_dir`` as of :class:`InputCheck`."""
    paths = list(dict.fromkeys(paths))
    read = partial(read_facts, kept=DiskCache(cache_dir, [read_facts, read_series]))
    # no bar for one file: inference checks each image when its turn comes
    bar = {"desc": "checking input", "unit": "file", "disable": len(paths) < 2}
    # threads, as reading, decompressing and NumPy's loops release the interpreter's lock
    return dict(zip(paths, thread_map(read, paths, max_workers=min(os.cpu_count() or 1, 8), **bar), strict=True))
