# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of all cases and organs, in memory and as ``metrics.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..metrics.files import CaseScores
from ..metrics.scores import METRICS

DISTANCES = ("hd95", "asd", "assd")
VOLUMES = ("volume_prediction_ml", "volume_reference_ml")


@dataclass(frozen=True)
class ScoreTable:
    """Scores by case and organ.

    Attributes:
        cases: names of the cases, C of them.
        organs: names of the organs in the order of their label values, O of them.
        unit: of the distances.
        status: words [C, O]; see ``scdl_components.metrics.scores.STATUSES``.
        values: metric -> [C, O], NaN where it is undefined.
        volumes: name in ``VOLUMES`` -> [C, O] in ml, on the patient's grid.
    """

    cases: list[str]
    organs: list[str]
    unit: str
    status: np.ndarray
    values: dict[str, np.ndarray]
    volumes: dict[str, np.ndarray]

    @classmethod
    def from_scores(cls, cases: Sequence[str], organs: Sequence[str], unit: str, scores: Sequence[CaseScores]):
        """Table of one ``CaseScores`` for each case."""
        return cls(
            list(cases),
            list(organs),
            unit,
            np.array([[score.status for score in case.scores] for case in scores]),
            {name: np.array([[getattr(score, name) for score in case.scores] for case in scores]) for name in METRICS},
            {
                "volume_prediction_ml": np.stack([case.volumes_prediction for case in scores]),
                "volume_reference_ml": np.stack([case.volumes_reference for case in scores]),
            },
        )

    def columns(self) -> list[str]:
        """Header of the CSV; distances carry their unit."""
        metrics = [f"{name}_{self.unit}" if name in DISTANCES else name for name in METRICS]
        return ["case", "organ", "status", *metrics, *VOLUMES]

    def write_csv(self, path: str | Path) -> None:
        """A row for each case and organ; the cell of an undefined metric is empty."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns())
            for c, case in enumerate(self.cases):
                for o, organ in enumerate(self.organs):
                    scores = [_cell(self.values[name][c, o]) for name in METRICS]
                    volumes = [_cell(self.volumes[name][c, o]) for name in VOLUMES]
                    writer.writerow([case, organ, self.status[c, o], *scores, *volumes])

    @classmethod
    def read_csv(cls, path: str | Path, unit: str) -> ScoreTable:
        """The table of a file that :py:meth:`write_csv` wrote.

        Raises:
            InputError: the file is not such a table, or not every case has every organ once.
        """
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        cases = list(dict.fromkeys(row[0] for row in rows))
        organs = list(dict.fromkeys(row[1] for row in rows if len(row) > 1))
        empty = np.empty((len(cases), len(organs)), dtype=object)
        table = cls(cases, organs, unit, empty, {}, {})
        expected = [(case, organ) for case in cases for organ in organs]
        if header != table.columns() or [tuple(row[:2]) for row in rows] != expected:
            raise InputError(
                f"'{path}' is no table of an evaluation in {unit}: expected the columns {', '.join(table.columns())} "
                "and each organ of each case once, in one order; evaluate again"
            )
        grid = np.array(rows, dtype=object).reshape(len(cases), len(organs), len(header))
        try:
            numbers = np.vectorize(lambda cell: float(cell or "nan"), otypes=[float])(grid[..., 3:])
        except ValueError as error:
            raise InputError(f"'{path}' holds something else than a number ({error}); evaluate again") from error
        named = dict(zip((*METRICS, *VOLUMES), np.moveaxis(numbers, 2, 0)))
        return cls(
            cases,
            organs,
            unit,
            grid[..., 2].astype(str),
            {name: named[name] for name in METRICS},
            {name: named[name] for name in VOLUMES},
        )


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.8g}"
