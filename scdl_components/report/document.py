# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..metrics.scores import ABSENT_IN_BOTH, METRICS, MISSING_IN_PREDICTION, MISSING_IN_REFERENCE
from .charts import title
from .table import DISTANCES, ScoreTable
from .text import NO_VALUE, html_image, html_page, html_table, html_tiles, markdown_table, mean_and_std, number, spread

HEADING = "Segmentation by organ"
DEFINITIONS = {
    "dice": "twice the common voxels over the voxels of both",
    "hd95": "95th percentile of the distances from each surface to the other, both directions together",
    "asd": "mean distance from the prediction's surface to the reference's (one direction)",
    "assd": "mean of the mean distances in both directions",
    "nsd": "fraction of both surfaces within the tolerance of the other",
}


def digits(metric: str) -> int:
    """Decimals to show."""
    return 2 if metric in DISTANCES else 3


def organ_table(summary: Mapping, unit: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the organs from large to small, then head, tail and all."""
    header = ["organ", "size (ml)", "group", *(title(metric, unit) for metric in METRICS)]
    header += [MISSING_IN_PREDICTION, MISSING_IN_REFERENCE, ABSENT_IN_BOTH]
    rows = [
        [name, number(organ["size_ml"], 1), organ["group"] or NO_VALUE, *_scores(organ)]
        for name, organ in summary["organs"].items()
    ]
    rows += [
        [f"mean of {name}", "", f"{len(group['organs'])} organs", *_scores(group)]
        for name, group in summary["groups"].items()
    ]
    return header, rows


def facts(summary: Mapping) -> list[tuple[str, str]]:
    """What the numbers were made of: (what, value)."""
    protocol, made = summary["protocol"], summary["provenance"]
    return [
        ("protocol", f"{protocol['name']}: {protocol['description']}"),
        ("cases", f"{summary['num_cases']}: {', '.join(summary['cases'])}"),
        ("head and tail", f"tail: the {summary['num_tail']} smallest organs by mean labelled volume; head: the others"),
        *((key.replace("_", " "), str(value)) for key, value in made.items() if value not in (None, "", {})),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        ("made on", summary["created"]),
    ]


def reading(summary: Mapping) -> list[str]:
    """How the table is to be read, a sentence or two each."""
    defined = "; ".join(f"{title(name, summary['protocol']['unit'])}: {text}" for name, text in DEFINITIONS.items())
    return [
        "Each cell is mean ± sample standard deviation over the cases, and in brackets the number of cases in it. "
        "The rows of head, tail and all are of each case's mean over the organs that are defined in it.",
        summary["protocol"]["missing_rule"],
        f"{defined}. Sizes are of the references, on the patient's grid.",
    ]


def markdown(summary: Mapping, charts: Mapping[str, str], worst: Sequence[tuple[str, str]]) -> str:
    """The report with its images beside it.

    Args:
        summary: content of ``summary.json``.
        charts: file name -> caption.
        worst: (file name, caption) of the overlays.
    """
    header, rows = organ_table(summary, summary["protocol"]["unit"])
    images = [f"![{caption}]({name})\n\n{caption}" for name, caption in charts.items()]
    overlays = [f"![{caption}]({name})\n\n{caption}" for name, caption in worst]
    parts = [
        f"# {HEADING}",
        _lead(summary),
        markdown_table(header, rows),
        *reading(summary),
        *images,
        "## Worst cases by mean Dice",
        *(overlays or ["No case has an organ in both."]),
        "## How it was made",
        markdown_table(["what", "value"], facts(summary)).replace("---:", "---"),
    ]
    return "\n\n".join(parts) + "\n"


def page(
    summary: Mapping, table: ScoreTable, charts: Mapping[str, str], worst: Sequence[tuple[str, str]], folder: Path
) -> str:
    """The report as one HTML page with its images in it; arguments as of :py:func:`markdown`, images in ``folder``."""
    unit = summary["protocol"]["unit"]
    header, rows = organ_table(summary, unit)
    shown = [("dice", "head"), ("dice", "tail"), ("dice", "all"), ("nsd", "all"), ("hd95", "all")]
    found = [(metric, name, summary["groups"][name]["metrics"][metric]) for metric, name in shown]
    tiles = [
        (spread(value, digits(metric)), f"{title(metric, unit)}, {name} (n = {value['n']})")
        for metric, name, value in found
    ]
    explained = "".join(f"<p>{text}</p>" for text in reading(summary))
    return html_page(
        HEADING,
        _lead(summary),
        [
            ("", html_tiles(tiles)),
            ("By organ", html_table(header, rows, strong=range(len(summary["organs"]), len(rows))) + explained),
            ("Charts", "".join(html_image(folder / name, caption) for name, caption in charts.items())),
            ("Worst cases by mean Dice", "".join(html_image(folder / name, caption) for name, caption in worst)),
            ("Every case", "".join(_by_case(table, summary, metric) for metric in METRICS)),
            ("How it was made", html_table([], facts(summary), kind="facts")),
        ],
    )


def _lead(summary: Mapping) -> str:
    protocol = summary["protocol"]
    cases = "1 case" if summary["num_cases"] == 1 else f"{summary['num_cases']} cases"
    return f"{cases}, protocol {protocol['name']}: {protocol['description']}."


def _scores(entry: Mapping) -> list[str]:
    scores = [mean_and_std(entry["metrics"][metric], digits(metric)) for metric in METRICS]
    counts = [entry["status"][word] for word in (MISSING_IN_PREDICTION, MISSING_IN_REFERENCE, ABSENT_IN_BOTH)]
    return scores + [str(count) if count else NO_VALUE for count in counts]


def _by_case(table: ScoreTable, summary: Mapping, metric: str) -> str:
    order = [table.organs.index(name) for name in summary["organs"]]
    rows = [
        [case, *(number(value, digits(metric)) for value in row[order])]
        for case, row in zip(table.cases, table.values[metric])
    ]
    opened = " open" if metric == "dice" else ""
    inner = html_table(["case", *summary["organs"]], rows)
    return f"<details{opened}><summary>{title(metric, table.unit)}</summary>{inner}</details>"
