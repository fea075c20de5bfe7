# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Input checks: every file of the case lists is read before anything runs, and every problem goes into one report."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from scdl_components.data.case_list import LISTS, check_allow_overlap
from scdl_components.data.check_rules import CaseFacts, Context, Limits, Problem, find_problems
from scdl_components.data.dicom import read_series
from scdl_components.data.disk_cache import DiskCache
from scdl_components.data.facts import VolumeFacts, read_facts
from scdl_components.distributed import on_rank_zero
from scdl_components.errors import InputError


class InputCheck:
    """Read all files of the lists and refuse them with one report if anything is wrong.

    Args:
        organs: names of the organs; ``organs[i]`` has the label value i + 1, 0 is background.
        labeled: items ``{"image": path, "label": path}``.
        unlabeled: items ``{"image": path}``; a label in them is not looked at.
        validation: items with image and label.
        test: items with an image and, where there is one, a label.
        allow_overlap: names of lists that may share cases among one another.
        other_modalities: of each modality that is not CT, a regular expression that finds its images by their file
            names; their values need not be HU.
        intensity_range: HU that the network tells apart; an image with almost nothing between them is refused.
        limits: what is still believed; default ``Limits()``.
        num_workers: files read at a time; default one for each CPU core, at most 8.
        progress: whether to show a progress bar.
        cache_dir: folder in which is kept what was found in a file, so that the next check only compares its bytes with
            those that were read then; default none.
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
        limits: Limits | None = None,
        num_workers: int | None = None,
        progress: bool = True,
        cache_dir: str | os.PathLike | Literal[False] | None = None,
    ) -> None:
        check_allow_overlap(allow_overlap)
        self.lists = dict(zip(LISTS, (labeled, unlabeled, validation, test), strict=True))
        self.context = Context(
            tuple(organs), tuple(allow_overlap), limits or Limits(), other_modalities or {}, intensity_range
        )
        self.num_workers = num_workers or min(os.cpu_count() or 1, 8)
        self.progress = progress
        self.cache_dir = cache_dir

    @on_rank_zero
    def run(self) -> list[CaseFacts]:
        """Check the lists.

        Returns:
            The facts of every case; what is odd but usable has been reported in one ``UserWarning``.

        Raises:
            InputError: at least one problem; the message has a line for each, warnings included.
        """
        cases, problems = self.survey()
        errors = [problem for problem in problems if problem.is_error]
        report = "\n".join(map(str, errors + [problem for problem in problems if not problem.is_error]))
        if errors:
            raise InputError(
                f"the input has {len(errors)} error(s), {len(problems) - len(errors)} warning(s):\n{report}"
            )
        if problems:
            warnings.warn(f"the input has {len(problems)} warning(s):\n{report}", UserWarning, stacklevel=2)
        return cases

    def survey(self) -> tuple[list[CaseFacts], list[Problem]]:
        """Read the lists; returns the facts of every case and all problems, errors and warnings."""
        cases, problems = self._read()
        return cases, problems + find_problems(cases, self.context)

    def _read(self) -> tuple[list[CaseFacts], list[Problem]]:
        """Read each file once, several at a time; returns the cases' facts and the items that are none."""
        items, problems = [], []
        for list_name, values in self.lists.items():
            for index, value in enumerate(values):
                image = value.get("image") if isinstance(value, Mapping) else None
                label = value.get("label") if isinstance(value, Mapping) and list_name != "unlabeled" else None
                if not isinstance(image, (str, os.PathLike)) or not isinstance(label, (str, os.PathLike, type(None))):
                    message = f"is {value!r}; expected an item with the path of one image and, if any, of one label"
                    problems.append(Problem(f"{list_name}[{index}]", message))
                else:
                    items.append((list_name, os.fspath(image), os.fspath(label) if label else None))
        paths = list(dict.fromkeys(path for _, *files in items for path in files if path))
        # threads, as reading, decompressing and NumPy's loops release the interpreter's lock
        with ThreadPool(self.num_workers) as pool:
            reading = pool.imap(facts_reader(self.context.limits.max_voxels, self.cache_dir), paths)
            bar = tqdm(reading, "checking input", len(paths), unit="file", disable=not self.progress)
            facts = dict(zip(paths, bar, strict=True))
        cases = [CaseFacts(name, facts[image], facts[label] if label else None) for name, image, label in items]
        return cases, problems


def facts_reader(
    max_voxels: int, cache_dir: str | os.PathLike | Literal[False] | None = None
) -> Callable[[str], VolumeFacts]:
    """``read_facts`` of a path, from a folder where they are kept by the content of the file; failures are not.

    Args:
        max_voxels: see :func:`.facts.read_facts`.
        cache_dir: the folder; None or False reads the file.
    """
    disk = DiskCache(cache_dir, [read_facts, read_series, max_voxels])

    def make(path: str) -> dict[str, object]:
        facts = vars(read_facts(path, max_voxels))
        return {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in facts.items()}

    def read(path: str) -> VolumeFacts:
        facts = disk.get({"path": path}, lambda: make(path), keep=lambda facts: not facts["failure"])
        arrays = {key: value.numpy() for key, value in facts.items() if isinstance(value, torch.Tensor)}
        return VolumeFacts(**facts | arrays | {"path": path})

    return read
