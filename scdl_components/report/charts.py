# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of an evaluation and of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..metrics.scores import METRICS
from .table import DISTANCES, ScoreTable

COLORS = {"head": "#33658a", "tail": "#d1495b", None: "#8d99ae"}
TITLES = {"dice": "Dice", "hd95": "HD95", "asd": "ASD", "assd": "ASSD", "nsd": "NSD"}
BETTER = {name: "lower" if name in DISTANCES else "higher" for name in METRICS}


def title(metric: str, unit: str) -> str:
    """Name of a metric with its unit."""
    return f"{TITLES[metric]} ({unit})" if metric in DISTANCES else TITLES[metric]


def bar_chart(summary: Mapping, unit: str, path: Path, metrics: Sequence[str] = ("dice", "nsd", "hd95", "assd")) -> None:
    """Mean and standard deviation by organ, large to small; a panel for each metric.

    Args:
        summary: of :py:func:`scdl_components.report.summary.summarize`.
        unit: of the distances.
        path: PNG to write.
        metrics: of the panels, two in a row.
    """
    organs = summary["organs"]
    colors = [COLORS[organ["group"]] for organ in organs.values()]
    figure = _figure(width=max(4.6, 0.42 * len(organs)) * 2, height=3.1 * len(metrics) // 2 + 1.6)
    panels = figure.subplots(len(metrics) // 2, 2, sharex=True, squeeze=False).ravel()
    for ax, metric in zip(panels, metrics):
        found = [organ["metrics"][metric] for organ in organs.values()]
        means = [np.nan if each["mean"] is None else each["mean"] for each in found]
        # a deviation is drawn no further than the metric can go
        below = [min(each["std"] or 0, each["mean"] or 0) for each in found]
        above = [each["std"] or 0 for each in found]
        if metric not in DISTANCES:
            above = [min(std, 1 - (each["mean"] or 0)) for std, each in zip(above, found)]
            ax.set_ylim(0, 1.02)
        ax.bar(
            range(len(organs)), means, yerr=[below, above], color=colors, ecolor="#333333", capsize=2, error_kw={"lw": 0.9}
        )
        ax.set_title(f"{title(metric, unit)}, {BETTER[metric]} is better", fontsize=10, loc="left")
        _name_organs(ax, list(organs))
    figure.legend(handles=_group_handles(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)


def dice_box_plot(table: ScoreTable, summary: Mapping, path: Path) -> None:
    """Dice of the cases by organ, large to small: quartiles, whiskers of 1.5 quartile distances, and every case."""
    organs = summary["organs"]
    columns = [table.values["dice"][:, table.organs.index(name)] for name in organs]
    columns = [column[~np.isnan(column)] for column in columns]
    figure = _figure(width=max(5.0, 0.62 * len(organs)) + 1, height=4.4)
    ax = figure.subplots()
    boxes = ax.boxplot(columns, positions=range(len(organs)), widths=0.6, showfliers=False, patch_artist=True)
    for patch, organ in zip(boxes["boxes"], organs.values()):
        patch.set(facecolor=COLORS[organ["group"]], alpha=0.35, edgecolor=COLORS[organ["group"]])
    for line in boxes["medians"]:
        line.set(color="#222222", linewidth=1.4)
    rng = np.random.default_rng(0)
    for position, (column, organ) in enumerate(zip(columns, organs.values())):
        jitter = rng.uniform(-0.16, 0.16, len(column))
        ax.scatter(position + jitter, column, s=11, color=COLORS[organ["group"]], alpha=0.8, linewidths=0, zorder=3)
    ax.set_ylim(-0.03, 1.03)
    ax.set_title("Dice of the cases", fontsize=10, loc="left")
    _name_organs(ax, list(organs))
    figure.legend(handles=_group_handles(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)


def difference_chart(panels: Mapping[str, Sequence], heading: str, unit: str, path: Path) -> None:
    """Differences with their confidence intervals, a panel for each metric, a line for each organ and group.

    Args:
        panels: metric -> differences, each with ``scope``, ``group``, ``difference``, ``low`` and ``high``.
        heading: what is compared.
        unit: of the distances.
        path: PNG to write.
    """
    lines = len(next(iter(panels.values())))
    figure = _figure(width=3.0 * len(panels) + 1.8, height=0.27 * lines + 1.3)
    for ax, (metric, rows) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()):
        ax.axvline(0, color="#444444", linewidth=0.8)
        for y, row in enumerate(rows):
            color = COLORS[row.group]
            ax.plot([row.low, row.high], [y, y], color=color, linewidth=2, solid_capstyle="butt")
            ax.plot(row.difference, y, "o" if row.scope == "organ" else "D", color=color, markersize=5)
        ax.set_yticks(range(lines), [row.name for row in rows], fontsize=8)
        ax.set_ylim(lines - 0.4, -0.6)
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=8)
        side = "right" if BETTER[metric] == "higher" else "left"
        ax.set_title(f"{title(metric, unit)}: better to the {side}", fontsize=9, loc="left")
    figure.suptitle(heading, fontsize=10, x=0.01, ha="left")
    figure.savefig(path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _name_organs(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_xlim(-0.7, len(names) - 0.3)
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="y", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _group_handles() -> list[Patch]:
    return [Patch(color=COLORS["head"], label="large organs (head)"), Patch(color=COLORS["tail"], label="small organs (tail)")]
