# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation as one HTML page."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..metrics.scores import ABSENT_IN_BOTH, METRICS, MISSING_IN_PREDICTION, MISSING_IN_REFERENCE
from .page import NO_VALUE, decimals, html_details, html_figure, html_page, html_table, mean_and_std, number, title
from .table import ScoreTable

MISSING = (MISSING_IN_PREDICTION, MISSING_IN_REFERENCE, ABSENT_IN_BOTH)
CELLS = (
    "Each cell is mean ± sample standard deviation over the cases, and in brackets the number of cases in it. The rows "
    "of head, tail and all are of each case's mean over the organs that are defined in it. Sizes are of the references, "
    "on the patient's grid."
)
DEFINITIONS = (
    "Dice: twice the common voxels over the voxels of both; HD95: 95th percentile of the distances from each surface to "
    "the other, both directions together (MedPy's definition; MONAI takes the larger one of the two directions'); ASD: "
    "mean distance from the prediction's surface to the reference's (one direction); ASSD: mean of the mean distances "
    "in both directions; NSD: share of both surfaces within the tolerance of the other, by area (as MONAI's surface "
    "Dice with use_subvoxels=True, and DeepMind's) and by count of surface voxels (as MONAI's surface Dice by default)."
)


def organ_table(summary: Mapping) -> tuple[list[str], list[list[str]]]:
    """Show organs from large to small, then head, tail and all, as header and rows."""

    def scores(entry: Mapping) -> list[str]:
        counts = [str(entry["status"][word] or NO_VALUE) for word in MISSING]
        return [mean_and_std(entry["metrics"][metric], decimals(metric)) for metric in METRICS] + counts

    unit = summary["protocol"]["unit"]
    header = ["organ", "size (ml)", "group", *(title(metric, unit) for metric in METRICS), *MISSING]
    rows = [
        [name, number(organ["size_ml"], 1), organ["group"] or NO_VALUE, *scores(organ)]
        for name, organ in summary["organs"].items()
    ]
    rows += [
        [f"mean of {name}", "", f"{len(group['organs'])} organs", *scores(group)]
        for name, group in summary["groups"].items()
        if group["organs"]
    ]
    return header, rows


def facts(summary: Mapping) -> list[tuple[str, str]]:
    """List what the numbers were made of: (what, value)."""
    protocol, made = summary["protocol"], summary["provenance"]
    return [
        ("protocol", f"{protocol['name']}: {protocol['description']}"),
        ("cases", f"{summary['num_cases']}: {', '.join(summary['cases'])}"),
        ("head and tail", f"tail: the {summary['num_tail']} smallest organs by mean labeled volume; head: the others"),
        *((key.replace("_", " "), str(value)) for key, value in made.items() if value not in (None, "", {})),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        ("made on", summary["created"]),
    ]


def page(summary: Mapping, table: ScoreTable, worst: Mapping[str, Figure]) -> str:
    """Write the whole report as one page with its pictures in it.

    Args:
        summary: content of ``summary.json``.
        table: scores of the cases.
        worst: caption -> picture of the worst cases.
    """
    protocol, num_organs = summary["protocol"], len(summary["organs"])
    header, rows = organ_table(summary)
    reading = "".join(f"<p>{text}</p>" for text in (CELLS, protocol["missing_rule"], DEFINITIONS))
    pictures = "".join(html_figure(picture, caption) for caption, picture in worst.items())
    return html_page(
        "Segmentation by organ",
        f"Cases: {summary['num_cases']}. Protocol {protocol['name']}: {protocol['description']}.",
        {
            "By organ": html_table(header, rows, strong=range(num_organs, len(rows))) + reading,
            "Worst cases by mean Dice": pictures or "<p>No case has an organ in both.</p>",
            "Every case": "".join(_by_case(table, metric) for metric in METRICS),
            "How it was made": html_table([], facts(summary), kind="facts"),
        },
    )


def _by_case(table: ScoreTable, metric: str) -> str:
    order = table.large_to_small()
    values = zip(table.cases, table.values[metric][:, order])
    rows = [[case, *(number(value, decimals(metric)) for value in row)] for case, row in values]
    header = ["case", *(table.organs[o] for o in order)]
    return html_details(title(metric, table.unit), html_table(header, rows), metric == "dice")
