# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of all cases and organs, in memory and as ``metrics.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..metrics.scores import DISTANCES, METRICS, VOLUMES, OrganScore

NUMBERS = (*METRICS, *VOLUMES)


@dataclass(frozen=True)
class ScoreTable:
    """Scores by case and organ.

    Attributes:
        cases: names of the cases, C of them.
        organs: names of the organs in the order of their label values, O of them.
        unit: of the distances.
        status: words [C, O]; see ``scdl_components.metrics.scores.STATUSES``.
        values: metric, or name in ``VOLUMES`` (ml on the patient's grid) -> [C, O], NaN where it is undefined.
    """

    cases: list[str]
    organs: list[str]
    unit: str
    status: np.ndarray
    values: dict[str, np.ndarray]

    @classmethod
    def from_scores(
        cls, cases: Sequence[str], organs: Sequence[str], unit: str, scores: Sequence[Sequence[OrganScore]]
    ) -> ScoreTable:
        """Table of the scores of each case, an ``OrganScore`` for each organ."""
        status = np.array([[score.status for score in case] for case in scores])
        values = {name: np.array([[getattr(score, name) for score in case] for case in scores]) for name in NUMBERS}
        return cls(list(cases), list(organs), unit, status, values)

    def columns(self) -> list[str]:
        """Header of the CSV; distances carry their unit."""
        return ["case", "organ", "status", *(f"{n}_{self.unit}" if n in DISTANCES else n for n in NUMBERS)]

    def to_csv(self) -> str:
        """A row for each case and organ; the cell of an undefined metric is empty."""
        rows = [
            [case, organ, self.status[c, o], *(cell(self.values[name][c, o]) for name in NUMBERS)]
            for c, case in enumerate(self.cases)
            for o, organ in enumerate(self.organs)
        ]
        return csv_text([self.columns(), *rows])

    @classmethod
    def read_csv(cls, path: str | Path, unit: str) -> ScoreTable:
        """The table of a file that holds what :py:meth:`to_csv` gave.

        Raises:
            InputError: the file is not such a table, or not every case has every organ once.
        """
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        cases = list(dict.fromkeys(row[0] for row in rows))
        organs = list(dict.fromkeys(row[1] for row in rows if len(row) > 1))
        columns = cls(cases, organs, unit, np.empty(0), {}).columns()
        expected = [(case, organ) for case in cases for organ in organs]
        if header != columns or [tuple(row[:2]) for row in rows] != expected:
            raise InputError(
                f"'{path}' is no table of an evaluation in {unit}: expected the columns {', '.join(columns)} "
                "and each organ of each case once, in one order; evaluate again"
            )
        grid = np.array(rows, dtype=object).reshape(len(cases), len(organs), len(header))
        try:
            numbers = np.where(grid[..., 3:] == "", "nan", grid[..., 3:]).astype(float)
        except ValueError as error:
            raise InputError(f"'{path}' holds something else than a number ({error}); evaluate again") from error
        return cls(cases, organs, unit, grid[..., 2].astype(str), dict(zip(NUMBERS, np.moveaxis(numbers, 2, 0))))


def cell(value: object) -> str:
    """Text of a CSV's cell: eight digits of a number, nothing for NaN and None."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.8g}"
    return "" if value is None else str(value)


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as CSV, its header the first one."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
