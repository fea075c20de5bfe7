# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Tables and picture of benchmarks.growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.step_time import ratio
from scdl_components.proxies import token_grid


class Setting(NamedTuple):
    """What is varied; the defaults are the base."""

    edge: int = 48
    classes: int = 14
    voxels_per_token: int = 4
    ranks: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of a volume."""
        return math.prod(token_grid([self.edge] * 3, self.voxels_per_token))


class Cost(NamedTuple):
    """Of a run: median seconds of an iteration, and of its losses' forward pass; peak MB of the largest process."""

    seconds: float
    losses: float
    megabytes: float


class Axis(NamedTuple):
    """What is varied in a table.

    Attributes:
        heading: of the table.
        unit: of the size.
        size: of a setting.
        row: how a row is named.
        plain: exponent of time that one would expect of the simplest case, to compare with.
    """

    heading: str
    unit: str
    size: Callable[[Setting], int]
    row: str = "{size:,}"
    plain: int = 1


AXES = {
    "edge": Axis("Patch", "voxels of the patch", lambda setting: setting.edge**3, "{size:,} ({value}³)"),
    "classes": Axis("Classes", "classes", lambda setting: setting.classes),
    "voxels_per_token": Axis(
        "Tokens", "tokens of a volume", lambda setting: setting.tokens, "{size:,} (of {value}³ voxels each)"
    ),
    "ranks": Axis("Processes", "processes", lambda setting: setting.ranks, plain=-1),
}
# a setting's costs, one of each round
Costs = Mapping[Setting, Sequence[Cost]]


def exponents(sizes: Sequence[int], rounds: Sequence[Sequence[float]]) -> list[float]:
    """Slopes of log(value) over log(size), one of each round; rounds [R, len(sizes)]."""
    return [float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) for values in rounds]


def spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(name: str, settings: Sequence[Setting], costs: Costs, base: Setting) -> str:
    """Markdown: a row for each setting of an axis, and the exponents of time and memory."""
    axis = AXES[name]
    lines = [
        f"## {axis.heading}",
        "",
        f"| {axis.unit} | seconds an iteration | ratio to the base | losses' forward, of it | peak memory, MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for setting in settings:
        seconds, losses, megabytes = zip(*costs[setting])
        base_ratio = "1" if setting == base else ratio(seconds, [cost.seconds for cost in costs[base]])
        row = axis.row.format(size=axis.size(setting), value=getattr(setting, name))
        lines.append(
            f"| {row} | {spread(seconds, 3)} | {base_ratio} "
            f"| {100 * statistics.median(a / b for a, b in zip(losses, seconds)):.0f} % | {spread(megabytes, 0)} |"
        )
    if len(settings) > 1:
        sizes = [axis.size(setting) for setting in settings]
        slopes = {
            field: exponents(sizes, list(zip(*([getattr(cost, field) for cost in costs[s]] for s in settings))))
            for field in ("seconds", "megabytes")
        }
        lines += [
            "",
            f"Exponent over {axis.unit}, fitted to all rows: time {spread(slopes['seconds'], 2)}, "
            f"memory {spread(slopes['megabytes'], 2)}.",
        ]
    return "\n".join(lines)


def picture(axes: Mapping[str, Sequence[Setting]], costs: Costs, base: Setting, path: Path) -> None:
    """PNG: time and memory over each axis's size, logarithmic; dots are rounds, dotted is ``Axis.plain``."""
    figure = Figure(figsize=(3.4 * len(axes), 6.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(axes), sharey="row", squeeze=False)
    for row, (field, what) in zip(panels, {"seconds": "seconds an iteration", "megabytes": "peak memory, MB"}.items()):
        row[0].set_ylabel(what, fontsize=9)
        values = {setting: [getattr(cost, field) for cost in rounds] for setting, rounds in costs.items()}
        medians = {setting: statistics.median(rounds) for setting, rounds in values.items()}
        limits = min(map(min, values.values())) / 1.5, max(map(max, values.values())) * 1.5
        for ax, (name, settings) in zip(row, axes.items()):
            axis = AXES[name]
            sizes = np.array([axis.size(setting) for setting in settings])
            ax.plot(sizes, [values[setting] for setting in settings], "o", color="#2f6690", markersize=3, alpha=0.5)
            ax.plot(sizes, [medians[setting] for setting in settings], color="#2f6690", linewidth=1.8)
            plain = medians[base] * (sizes / axis.size(base)) ** axis.plain
            ax.plot(sizes, plain, ":", color="#888888", linewidth=1, label=f"exponent {axis.plain}, through the base")
            ax.set(xscale="log", yscale="log", ylim=limits)
            ax.set_title(axis.heading, fontsize=10, loc="left")
            ax.set_xlabel(axis.unit, fontsize=9)
            ax.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=35, ha="right")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.grid(color="#dddddd", linewidth=0.6)
            ax.tick_params(labelsize=8)
            ax.spines[["top", "right"]].set_visible(False)
            ax.legend(frameon=False, fontsize=7, loc="upper left")
    figure.savefig(path)
