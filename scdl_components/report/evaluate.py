# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of segmentations that are files, and its report."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm.contrib.concurrent import thread_map

from .. import __version__
from ..atomic import check_writable, path_hash
from ..data.input_check import InputCheck
from ..data.results import find_results, name_of, read_sidecar, sidecar_of
from ..errors import InputError, MissingFileError
from ..metrics import OrganScore, Protocol, score_files
from . import document
from .page import write_files
from .pictures import load_volume, three_planes
from .table import ScoreTable, defined_mean, summarize

NUM_WORST = 3  # cases that are pictured
CASES_AT_ONCE = min(os.cpu_count() or 1, 8)
VERSIONS_OF = ("monai", "torch", "numpy", "scipy", "nibabel")  # what decides the numbers


class Evaluation:
    """Compare ``<name>_seg.nii.gz`` files with the cases' labels and write a report.

    Args:
        data: items ``{"image": path, "label": path}``.
        predictions_dir: folder with ``<name>_seg.nii.gz``, and ``<name>_seg.json`` where there is one, as the
            inference writes them.
        class_names: names by value, background first.
        report_dir: folder to write to; see :py:meth:`run`.
        protocol: grid, unit and penalties.
        num_tail: how many of the smallest organs are the tail; the largest organ is never one of them.
        provenance: what else the report should say of the predictions, e.g. the weights.
        intensity_range: HU shown as black and white.
        other_modalities: of the images, as in :py:class:`scdl_components.data.InputCheck`.

    Raises:
        InputError: ``num_tail`` is no number of organs, or ``report_dir`` holds the report of other cases.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        predictions_dir: str,
        class_names: Sequence[str],
        report_dir: str,
        protocol: Protocol,
        num_tail: int = 5,
        provenance: Mapping[str, object] | None = None,
        intensity_range: Sequence[float] = (-125, 275),
        other_modalities: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(num_tail, int) or num_tail < 1:
            raise InputError(f"num_tail is {num_tail!r}; expected a number of organs, at least 1")
        self.data = list(data)
        self.predictions_dir = Path(predictions_dir)
        # name -> files of image, reference and prediction
        self.cases = {}
        segmentations = find_results(predictions_dir, [item["image"] for item in self.data])
        for item in self.data:
            path = segmentations[item["image"]]
            self.cases[name_of(path)] = item["image"], item["label"], path
        self.class_names = list(class_names)
        self.report_dir = Path(report_dir)
        self._check_earlier_report()
        self.protocol = protocol
        self.num_tail = min(num_tail, len(self.class_names) - 2)
        self.provenance = dict(provenance or {})
        self.intensity_range = intensity_range
        self.other_modalities = other_modalities

    def check(self) -> None:
        """Read images and labels, so that a bad one is known before hours of inference.

        Raises:
            StorageError: ``report_dir`` cannot be written to.
            InputError: see :py:class:`scdl_components.data.InputCheck`.
        """
        check_writable([self.report_dir], "Make room or give another --report_dir")
        InputCheck(
            self.class_names[1:],
            test=self.data,
            other_modalities=self.other_modalities,
            intensity_range=self.intensity_range,
        ).run()

    def run(self) -> dict[str, object]:
        """Evaluate, write the report and return the content of ``summary.json``.

        Writes ``metrics.csv`` (a row for each case and organ), ``summary.json`` and ``report.html``.

        Raises:
            MissingFileError: cases have not been segmented; the message names them.
            InputError: segmentations cannot be compared with their labels; all problems in one message.
        """
        made_with = self._check_predictions()
        table = self._score()
        means = defined_mean(table.values["dice"], axis=1)
        worst = [c for c in np.argsort(means, kind="stable")[:NUM_WORST] if not np.isnan(means[c])]
        versions = {name: version(name) for name in VERSIONS_OF}
        summary = {
            "protocol": self.protocol.describe(),
            "num_tail": self.num_tail,
            **summarize(table, self.num_tail),
            "worst_cases": [{"case": table.cases[c], "mean_dice": float(means[c])} for c in worst],
            "provenance": {
                "predictions": str(self.predictions_dir),
                **self.provenance,
                **made_with,
                "command": shlex.join(sys.argv),
            },
            "versions": {"scdl_components": __version__, **versions, "python": platform.python_version()},
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        pictures = {f"{table.cases[c]}: mean Dice {means[c]:.3f}": self._draw(table.cases[c]) for c in worst}
        texts = {
            "metrics.csv": table.to_csv(),
            "report.html": document.page(summary, table, pictures),
            "summary.json": json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        }
        write_files(self.report_dir, texts)
        return summary

    def _check_earlier_report(self) -> None:
        try:
            earlier = json.loads((self.report_dir / "summary.json").read_text(encoding="utf-8"))["cases"]
            lost = [case for case in earlier if case not in self.cases]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if lost:
            raise InputError(
                f"'{self.report_dir}' holds the report of {len(lost)} case(s) that are not of this list, which would be lost "
                f"({', '.join(lost[:3])}); give this report another folder"
            )

    def _check_predictions(self) -> dict[str, object]:
        """Read the weights and settings of all segmentations from their JSON files."""
        missing = [(image, prediction) for image, _, prediction in self.cases.values() if not prediction.is_file()]
        if missing:
            raise MissingFileError(
                f"{len(missing)} of {len(self.cases)} cases have no segmentation in '{self.predictions_dir}' (expected "
                f"'{missing[0][1].name}' and so on): run the inference on {', '.join(image for image, _ in missing)}"
            )
        made: dict[str, str] = {}
        expected = {str(value): name for value, name in enumerate(self.class_names)}
        for image, _, prediction in self.cases.values():
            content, sidecar = read_sidecar(prediction), sidecar_of(prediction)
            if not content and sidecar.is_file():
                raise InputError(f"'{sidecar}' is not as inference writes it; delete it and run the inference again")
            names = content.get("labels", expected)
            if names != expected:
                raise InputError(
                    f"'{prediction}' has the classes {', '.join(map(str, names.values()))}; expected "
                    f"{', '.join(self.class_names)}: it is of another network"
                )
            made_of = content.get("made_with", {}).get("image")
            if content.get("image") not in (None, image) and made_of not in (None, path_hash(image)):
                raise InputError(
                    f"'{prediction}' is of {content.get('image')}, and '{image}' is another image, by its content; run the "
                    f"inference on it. Where both have the same voxels, delete '{sidecar.name}'"
                )
            origin = {key: value for key, value in content.get("made_with", {}).items() if key != "image"}
            made.setdefault(json.dumps(origin, sort_keys=True), image)
        if len(made) > 1:
            raise InputError(
                f"the segmentations in '{self.predictions_dir}' were made with {len(made)} different weights or "
                f"settings, for example those of {' and '.join(list(made.values())[:2])}; run the inference again, or "
                "give each run its own output_dir"
            )
        # "weights" of the provenance is their file, here it is their hash
        hashes = {"weights": "weights_sha256", "network": "network_sha256"}
        return {hashes.get(key, key): value for key, value in json.loads(next(iter(made))).items()}

    def _score(self) -> ScoreTable:
        """Score all cases, several at a time."""

        def score(files: tuple[str, str, Path]) -> list[OrganScore] | InputError:
            _, label, prediction = files
            try:
                return score_files(prediction, label, len(self.class_names), self.protocol)
            except InputError as error:
                return error

        # threads: decompression, erosion and the search of neighbours release the interpreter's lock
        bar = {"desc": "comparing", "unit": "case", "disable": None}
        scores = thread_map(score, self.cases.values(), max_workers=CASES_AT_ONCE, **bar)
        problems = [f"\n- {result}" for result in scores if isinstance(result, InputError)]
        if problems:
            raise InputError(f"{len(problems)} case(s) cannot be evaluated:{''.join(problems)}")
        return ScoreTable.from_scores(list(self.cases), self.class_names[1:], self.protocol.unit, scores)

    def _draw(self, case: str) -> Figure:
        """Draw a case: image, reference, prediction."""
        image, label, prediction = map(load_volume, self.cases[case])
        masks = {"reference": label, "prediction": prediction}
        return three_planes(image, masks, self.class_names, self.intensity_range)
