# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of an evaluation and of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..metrics.scores import DISTANCES
from .table import ScoreTable

COLORS = {"head": "#33658a", "tail": "#d1495b", None: "#8d99ae"}
TITLES = {"dice": "Dice", "hd95": "HD95", "asd": "ASD", "assd": "ASSD", "nsd": "NSD"}


def title(metric: str, unit: str) -> str:
    """Name of a metric with its unit."""
    return f"{TITLES[metric]} ({unit})" if metric in DISTANCES else TITLES[metric]


def organ_chart(
    table: ScoreTable, summary: Mapping, metrics: Sequence[str] = ("dice", "nsd", "hd95", "assd")
) -> Figure:
    """Draws every case (dots) and the mean (line) by organ, large to small; a panel for each metric.

    Args:
        table: scores of the cases.
        summary: of :py:func:`scdl_components.report.summary.summarize`.
        metrics: of the panels, two in a row.
    """
    names, rows = list(summary["organs"]), (len(metrics) + 1) // 2
    figure = Figure(figsize=(max(4.6, 0.42 * len(names)) * 2, 3.1 * rows + 1.6), dpi=130, layout="constrained")
    shifts = np.random.default_rng(0).uniform(-0.2, 0.2, len(table.cases))
    for ax, metric in zip(figure.subplots(rows, 2, sharex=True, squeeze=False).ravel(), metrics):
        for x, (name, organ) in enumerate(summary["organs"].items()):
            color, mean = COLORS[organ["group"]], organ["metrics"][metric]["mean"]
            ax.scatter(x + shifts, table.values[metric][:, table.organs.index(name)], s=11, color=color, alpha=0.6)
            ax.plot([x - 0.35, x + 0.35], [np.nan if mean is None else mean] * 2, color=color, linewidth=2.5)
        if metric not in DISTANCES:
            ax.set_ylim(-0.02, 1.02)
        ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
        _finish(ax, f"{title(metric, table.unit)}, {'lower' if metric in DISTANCES else 'higher'} is better", "y")
    labels = {"head": "large organs (head)", "tail": "small organs (tail)"}
    patches = [Patch(color=COLORS[group], label=label) for group, label in labels.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def difference_chart(panels: Mapping[str, Sequence], heading: str, unit: str) -> Figure:
    """Draws differences with their confidence intervals: a panel for each metric, a line for each organ and group.

    Args:
        panels: metric -> :py:class:`scdl_components.report.paired.Difference`, the same lines for each metric.
        heading: what is compared.
        unit: of the distances.
    """
    lines = len(next(iter(panels.values())))
    figure = Figure(figsize=(3.0 * len(panels) + 1.8, 0.27 * lines + 1.3), dpi=130, layout="constrained")
    for ax, (metric, rows) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()):
        ax.axvline(0, color="#444444", linewidth=0.8)
        for y, row in enumerate(rows):
            ax.plot([row.low, row.high], [y, y], color=COLORS[row.group], linewidth=2, solid_capstyle="butt")
            ax.plot(row.difference, y, "o" if row.scope == "organ" else "D", color=COLORS[row.group], markersize=5)
        ax.set_yticks(range(lines), [row.name for row in rows], fontsize=8)
        ax.set_ylim(lines - 0.4, -0.6)
        _finish(ax, f"{title(metric, unit)}: better to the {'left' if metric in DISTANCES else 'right'}", "x")
    figure.suptitle(heading, fontsize=10, x=0.01, ha="left")
    return figure


def _finish(ax: Axes, text: str, grid: str) -> None:
    ax.set_title(text, fontsize=9, loc="left")
    ax.tick_params(axis=grid, labelsize=8)
    ax.grid(axis=grid, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
