# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of segmentations that are files, and its report."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .. import __version__
from ..atomic import check_writable
from ..class_names import names_by_value
from ..data.input_check import InputCheck
from ..data.results import result_names, segmentation_of
from ..errors import InputError, MissingFileError
from ..metrics import ClinicalProtocol, PaperProtocol, score_files
from ..metrics.files import CaseScores
from . import document
from .cases import read_sidecar
from .charts import bar_chart, dice_box_plot
from .files import whole_files
from .pictures import load_volume, three_planes
from .summary import summarize, worst_cases
from .table import ScoreTable

CHARTS = {
    "by_organ.png": "Mean and standard deviation by organ, from the largest to the smallest.",
    "dice_box.png": "Dice of every case by organ, from the largest to the smallest: median, quartiles, whiskers of "
    "1.5 quartile distances.",
}


class Evaluation:
    """Compares ``<name>_seg.nii.gz`` files with the cases' labels and writes a report.

    Args:
        data: items ``{"image": path, "label": path}``.
        predictions_dir: folder with ``<name>_seg.nii.gz``, and ``<name>_seg.json`` where there is one, as the
            inference writes them.
        class_names: names by value, background first.
        report_dir: folder to write to; see :py:meth:`run`.
        protocol: grid, unit and penalties; of :py:func:`scdl_components.metrics.make_protocol`.
        num_tail: how many of the smallest organs are the tail.
        num_worst: cases shown as images.
        num_workers: cases compared at a time; default one for each core, at most 8.
        provenance: what else the report should say of the predictions, e.g. the weights.
        intensity_range: HU shown as black and white.
        progress: whether to show a progress bar.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        predictions_dir: str,
        class_names: Sequence[str],
        report_dir: str,
        protocol: ClinicalProtocol | PaperProtocol,
        num_tail: int = 5,
        num_worst: int = 3,
        num_workers: int | None = None,
        provenance: Mapping[str, object] | None = None,
        intensity_range: Sequence[float] = (-125, 275),
        progress: bool = True,
    ) -> None:
        if not isinstance(num_tail, int) or not 0 < num_tail < len(class_names) - 1:
            raise InputError(
                f"num_tail is {num_tail!r}; expected a number of organs, at least 1 and less than the "
                f"{len(class_names) - 1} there are"
            )
        self.data = list(data)
        self.names = result_names([item["image"] for item in self.data])
        self.predictions_dir = Path(predictions_dir)
        self.class_names = list(class_names)
        self.report_dir = Path(report_dir)
        self.protocol = protocol
        self.num_tail = num_tail
        self.num_worst = num_worst
        self.num_workers = num_workers or min(os.cpu_count() or 1, 8)
        self.provenance = dict(provenance or {})
        self.intensity_range = intensity_range
        self.progress = progress

    def check(self) -> None:
        """Reads images and labels, so that a bad one is known before hours of inference.

        Raises:
            StorageError: ``report_dir`` cannot be written to.
            InputError: see :py:class:`scdl_components.data.InputCheck`.
        """
        check_writable([self.report_dir], "Make room or give another --report_dir")
        InputCheck(
            self.class_names[1:], test=self.data, intensity_range=self.intensity_range, progress=self.progress
        ).run()

    def run(self) -> dict[str, object]:
        """Evaluates, writes the report and returns the content of ``summary.json``.

        Writes ``metrics.csv`` (a row for each case and organ), ``summary.json``, ``report.md``, ``report.html`` (all
        of it in one file), ``by_organ.png``, ``dice_box.png`` and ``worst_1.png`` to ``worst_<num_worst>.png``.

        Raises:
            MissingFileError: cases have not been segmented; the message names them.
            InputError: segmentations cannot be compared with their labels; all problems in one message.
        """
        made_with = self._check_predictions()
        table = self._score()
        summary = {
            "protocol": {
                "name": self.protocol.name,
                "description": self.protocol.description,
                "unit": self.protocol.unit,
                "nsd_tolerance": self.protocol.nsd_tolerance,
                "missing_rule": self.protocol.missing_rule,
            },
            "num_tail": self.num_tail,
            **summarize(table, self.num_tail),
            "worst_cases": [{"case": name, "mean_dice": dice} for name, dice in worst_cases(table, self.num_worst)],
            "provenance": {
                "predictions": str(self.predictions_dir),
                **self.provenance,
                **made_with,
                "command": shlex.join(sys.argv),
            },
            "versions": versions(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        self._write(table, summary)
        return summary

    def prediction(self, image: str) -> Path:
        """File of an image's segmentation."""
        return segmentation_of(self.predictions_dir, self.names[image])

    def _check_predictions(self) -> dict[str, object]:
        """Weights and settings that all segmentations were made with, as far as their JSON files tell."""
        missing = [item["image"] for item in self.data if not self.prediction(item["image"]).is_file()]
        if missing:
            raise MissingFileError(
                f"{len(missing)} of {len(self.data)} cases have no segmentation in '{self.predictions_dir}' (expected "
                f"'{self.prediction(missing[0]).name}' and so on): run the inference on {', '.join(missing)}"
            )
        made: dict[str, str] = {}
        for item in self.data:
            sidecar = read_sidecar(self.prediction(item["image"]))
            names = names_by_value(sidecar.get("labels", {}))
            if names and names != self.class_names:
                raise InputError(
                    f"'{self.prediction(item['image'])}' has the classes {', '.join(names)}; expected "
                    f"{', '.join(self.class_names)}: it is of another network"
                )
            origin = {key: value for key, value in sidecar.get("made_with", {}).items() if key != "image"}
            made.setdefault(json.dumps(origin, sort_keys=True), item["image"])
        if len(made) > 1:
            raise InputError(
                f"the segmentations in '{self.predictions_dir}' were made with {len(made)} different weights or "
                f"settings, for example those of {' and '.join(list(made.values())[:2])}; run the inference again, or "
                "give each run its own output_dir"
            )
        origin = json.loads(next(iter(made)))
        hashes = {"weights": "weights_sha256", "network": "network_sha256"}
        return {hashes.get(key, key): value for key, value in origin.items()}

    def _score(self) -> ScoreTable:
        """The scores of all cases, several cases at a time."""

        def score(item: Mapping[str, str]) -> CaseScores | InputError:
            try:
                files = self.prediction(item["image"]), item["label"]
                return score_files(*files, len(self.class_names), self.protocol)
            except InputError as error:
                return error

        # threads: decompression, erosion and the search of neighbours release the interpreter's lock
        with ThreadPool(self.num_workers) as pool:
            results = pool.imap(score, self.data)
            scores = list(tqdm(results, "comparing", len(self.data), unit="case", disable=not self.progress))
        problems = [str(result) for result in scores if isinstance(result, InputError)]
        if problems:
            raise InputError(f"{len(problems)} case(s) cannot be evaluated:\n" + "\n".join(f"- {p}" for p in problems))
        names = [self.names[item["image"]] for item in self.data]
        return ScoreTable.from_scores(names, self.class_names[1:], self.protocol.unit, scores)

    def _write(self, table: ScoreTable, summary: Mapping) -> None:
        with whole_files(self.report_dir, numbered="worst_*.png") as folder:
            table.write_csv(folder / "metrics.csv")
            bar_chart(summary, table.unit, folder / "by_organ.png")
            dice_box_plot(table, summary, folder / "dice_box.png")
            worst = self._draw_worst(summary["worst_cases"], folder)
            (folder / "report.md").write_text(document.markdown(summary, CHARTS, worst), encoding="utf-8")
            html = document.page(summary, table, CHARTS, worst, folder)
            (folder / "report.html").write_text(html, encoding="utf-8")
            text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
            (folder / "summary.json").write_text(text + "\n", encoding="utf-8")

    def _draw_worst(self, worst: Sequence[Mapping], folder: Path) -> list[tuple[str, str]]:
        items = {self.names[item["image"]]: item for item in self.data}
        drawn = []
        for place, case in enumerate(worst, start=1):
            item = items[case["case"]]
            paths = item["image"], item["label"], self.prediction(item["image"])
            image, label, pred = (load_volume(path) for path in paths)
            three_planes(
                image.numpy()[0],
                {name: mask.numpy()[0].astype(np.uint8) for name, mask in (("reference", label), ("prediction", pred))},
                image.pixdim.tolist(),
                self.class_names,
                folder / f"worst_{place}.png",
                self.intensity_range,
            )
            drawn.append((f"worst_{place}.png", f"{case['case']}: mean Dice {case['mean_dice']:.3f}"))
        return drawn


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = {name: version(name) for name in ("monai", "torch", "numpy", "scipy", "nibabel")}
    return {"scdl_components": __version__, **packages, "python": platform.python_version()}
