# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of all cases and organs: ``metrics.csv``, and means of organs and groups."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..metrics.scores import DISTANCES, METRICS, STATUSES, VOLUMES, OrganScore

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
    ) -> "ScoreTable":
        """Build the table of each case's scores, an ``OrganScore`` for each organ."""
        status = np.array([[score.status for score in case] for case in scores])
        values = {name: np.array([[getattr(score, name) for score in case] for case in scores]) for name in NUMBERS}
        return cls(list(cases), list(organs), unit, status, values)

    def to_csv(self) -> str:
        """Format a row for each case and organ; an undefined metric is an empty cell."""
        rows = [
            [case, organ, self.status[c, o], *(cell(self.values[name][c, o]) for name in NUMBERS)]
            for c, case in enumerate(self.cases)
            for o, organ in enumerate(self.organs)
        ]
        return csv_text([columns(self.unit), *rows])

    @classmethod
    def read_csv(cls, path: str | Path, unit: str) -> "ScoreTable":
        """Read a file that holds what :py:meth:`to_csv` gave.

        Raises:
            InputError: the file is not such a table, or not every case has every organ once.
        """
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        cases = list(dict.fromkeys(row[0] for row in rows))
        organs = list(dict.fromkeys(row[1] for row in rows if len(row) > 1))
        expected = [(case, organ) for case in cases for organ in organs]
        if header != columns(unit) or [tuple(row[:2]) for row in rows] != expected:
            raise InputError(
                f"'{path}' is no table of an evaluation in {unit}: expected the columns {', '.join(columns(unit))} "
                "and each organ of each case once, in one order; evaluate again"
            )
        grid = np.array(rows, dtype=object).reshape(len(cases), len(organs), len(header))
        try:
            numbers = np.where(grid[..., 3:] == "", "nan", grid[..., 3:]).astype(float)
        except ValueError as error:
            raise InputError(f"'{path}' holds something else than a number ({error}); evaluate again") from error
        return cls(cases, organs, unit, grid[..., 2].astype(str), dict(zip(NUMBERS, np.moveaxis(numbers, 2, 0))))

    def sizes(self) -> np.ndarray:
        """Compute the mean volume [O] in ml over references with the organ, or NaN."""
        volumes = self.values["volume_reference_ml"]
        return defined_mean(np.where(volumes > 0, volumes, np.nan), axis=0)

    def large_to_small(self) -> list[int]:
        """Order the organs' indices by size, those without one last."""
        return np.argsort(-self.sizes(), kind="stable").tolist()

    def group_masks(self, num_tail: int) -> dict[str, np.ndarray]:
        """Mark the organs [O] of head, tail (the ``num_tail`` smallest) and all.

        An organ that no reference holds has no size: it counts among all, but is neither head nor tail. The largest
        organ is never tail.
        """
        sizes = self.sizes()
        known = ~np.isnan(sizes)
        tail = np.zeros(len(sizes), dtype=bool)
        tail[np.argsort(sizes, kind="stable")[: min(num_tail, max(known.sum() - 1, 0))]] = True
        return {"head": known & ~tail, "tail": tail, "all": np.ones(len(sizes), dtype=bool)}


def columns(unit: str) -> list[str]:
    """Name the columns of metrics.csv; distances carry their unit."""
    return ["case", "organ", "status", *(f"{name}_{unit}" if name in DISTANCES else name for name in NUMBERS)]


def cell(value: object) -> str:
    """Format a CSV's cell: eight digits of a number, nothing for NaN and None."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.8g}"
    return "" if value is None else str(value)


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as CSV, the header first."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def defined_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Compute the mean of the defined values along an axis; NaN without any."""
    return np.ma.masked_invalid(values).mean(axis).filled(np.nan)


def statistics(values: np.ndarray) -> dict[str, float | int | None]:
    """Compute mean, sample standard deviation and number of the defined values; None without any."""
    defined = values[~np.isnan(values)]
    return {
        "mean": float(defined.mean()) if len(defined) else None,
        "std": float(defined.std(ddof=1)) if len(defined) > 1 else None,
        "n": len(defined),
    }


def summarize(table: ScoreTable, num_tail: int) -> dict[str, object]:
    """Compute statistics by organ (large to small) and by group, as JSON values.

    A group's mean and deviation are those of the cases' means over the group's organs.
    """
    sizes, masks, organs, groups = table.sizes(), table.group_masks(num_tail), {}, {}
    for o in table.large_to_small():
        organs[table.organs[o]] = {
            "size_ml": None if np.isnan(sizes[o]) else float(sizes[o]),
            "group": next((name for name in ("head", "tail") if masks[name][o]), None),
            "status": _count(table.status[:, o]),
            "metrics": {name: statistics(table.values[name][:, o]) for name in METRICS},
        }
    for name, mask in masks.items():
        groups[name] = {
            "organs": [organ for organ in organs if mask[table.organs.index(organ)]],
            "status": _count(table.status[:, mask]),
            "metrics": {m: statistics(defined_mean(table.values[m][:, mask], axis=1)) for m in METRICS},
        }
    return {"num_cases": len(table.cases), "cases": table.cases, "organs": organs, "groups": groups}


def _count(status: np.ndarray) -> dict[str, int]:
    return {name: int((status == name).sum()) for name in STATUSES}
