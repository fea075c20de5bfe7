# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of a study: learning curves, and Dice by organ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.study.report_runs import StudyRun

Groups = Mapping[int, Mapping[str, Sequence[StudyRun]]]
CURVES = {"mean": "all organs", "tail": "small organs (tail)"}


def learning_curves(groups: Groups, path: str | Path) -> None:
    """Validation Dice of all and of the small organs over the iterations; a row for each number of labelled cases.

    Args:
        groups: number of labelled cases -> method -> its runs.
        path: PNG to write.
    """
    figure = _figure(width=11, height=3.9 * len(groups) + 0.5)
    colors = method_colors(groups)
    panels = figure.subplots(len(groups), 2, sharex=True, sharey=True, squeeze=False)
    for row, (num_labeled, methods) in zip(panels, groups.items()):
        for ax, (name, what) in zip(row, CURVES.items()):
            for method, runs in methods.items():
                curves = [run.curves[name] for run in runs]
                for curve in curves if len(curves) > 1 else []:
                    ax.plot(list(curve), list(curve.values()), color=colors[method], linewidth=0.7, alpha=0.45)
                mean = mean_of_curves(curves)
                ax.plot(list(mean), list(mean.values()), color=colors[method], linewidth=2.2, marker="o", markersize=3)
            _style(ax, f"{num_labeled} labelled: validation Dice, {what}")
            ax.set_xlabel("iteration", fontsize=8)
    _legend(figure, groups, colors)
    figure.savefig(path)


def organ_chart(groups: Groups, path: str | Path) -> None:
    """Dice by organ, large to small: the mean over the seeds as a bar, every seed as a dot.

    Args:
        groups: number of labelled cases -> method -> its runs.
        path: PNG to write.
    """
    num_organs = len(_first(groups).summary["organs"])
    colors = method_colors(groups)
    figure = _figure(width=max(7.0, 0.17 * num_organs * (len(colors) + 2) + 1), height=3.7 * len(groups) + 0.8)
    for ax, (num_labeled, methods) in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups.items()):
        organs = next(iter(methods.values()))[0].summary["organs"]
        width = 0.8 / len(colors)
        for place, (method, runs) in enumerate((method, methods.get(method, ())) for method in colors):
            if not runs:
                continue
            x = np.arange(len(organs)) + (place - (len(colors) - 1) / 2) * width
            dice = np.array([[organ_dice(run, organ) for organ in organs] for run in runs])
            ax.bar(x, dice.mean(axis=0), 0.9 * width, color=colors[method])
            if len(runs) > 1:
                ax.plot(x, dice.T, "o", color="#222222", markersize=3, markeredgecolor="white", markeredgewidth=0.4)
        tail = [place for place, organ in enumerate(organs.values()) if organ["group"] == "tail"]
        ax.axvspan(min(tail) - 0.5, max(tail) + 0.5, color="#d1495b", alpha=0.1, linewidth=0, zorder=0)
        ax.set_xticks(range(len(organs)), list(organs), rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
        ax.set_xlim(-0.6, len(organs) - 0.4)
        _style(ax, f"{num_labeled} labelled: Dice by organ, large to small; shaded: tail")
    _legend(figure, groups, colors)
    figure.savefig(path)


def mean_of_curves(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Mean of several curves at the iterations that all of them have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: float(np.mean([curve[step] for curve in curves])) for step in steps}


def organ_dice(run: StudyRun, organ: str) -> float:
    """Mean Dice of an organ over the cases; NaN where nothing is defined."""
    mean = run.summary["organs"][organ]["metrics"]["dice"]["mean"]
    return float("nan") if mean is None else mean


def method_colors(groups: Groups) -> dict[str, tuple[float, ...]]:
    """A colour for each method, the same in all charts."""
    methods = list(dict.fromkeys(method for found in groups.values() for method in found))
    colors = matplotlib.colormaps["tab20" if len(methods) > 10 else "tab10"]
    return {method: colors(i) for i, method in enumerate(methods)}


def _first(groups: Groups) -> StudyRun:
    return next(iter(next(iter(groups.values())).values()))[0]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(ax: Axes, heading: str) -> None:
    ax.set_title(heading, fontsize=10, loc="left")
    ax.set_ylim(bottom=0)
    ax.grid(axis="y", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, groups: Groups, colors: Mapping[str, tuple[float, ...]]) -> None:
    seeds = {method: 0 for method in colors}
    for found in groups.values():
        for method, runs in found.items():
            seeds[method] = max(seeds[method], len(runs))
    label = {method: f"{method} ({n} seed{'s' if n > 1 else ''})" for method, n in seeds.items()}
    handles = [Line2D([], [], color=color, linewidth=3, label=label[method]) for method, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=9)
