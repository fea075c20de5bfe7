# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers, tables and pages as text and HTML; the files of a report."""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from ..atomic import whole_file
from ..metrics.scores import DISTANCES

NO_VALUE = "–"
TITLES = {
    "dice": "Dice",
    "hd95": "HD95",
    "asd": "ASD",
    "assd": "ASSD",
    "nsd_area": "NSD (area)",
    "nsd_count": "NSD (count)",
}

STYLE = """
body { margin: 0 auto; max-width: 1240px; padding: 2rem 1.5rem 4rem; color: #1f2933; font: 15px/1.5 system-ui, sans-serif; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; border-bottom: 1px solid #d9dee4; }
p { max-width: 78ch; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #d9dee4; }
td:first-child, th:first-child { text-align: left; }
th, figcaption { color: #616e7c; }
.strong td { font-weight: 600; background: #f4f6f8; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.6rem; }
img { max-width: 100%; border: 1px solid #d9dee4; }
"""


def title(metric: str, unit: str) -> str:
    """Name a metric, a distance with its unit."""
    return f"{TITLES[metric]} ({unit})" if metric in DISTANCES else TITLES[metric]


def decimals(metric: str) -> int:
    """Choose how many decimals a table shows of a metric."""
    return 2 if metric in DISTANCES else 3


def number(value: float | None, digits: int) -> str:
    """Format a number, or a dash where there is none."""
    return NO_VALUE if value is None or value != value else f"{value:.{digits}f}"


def mean_and_std(found: Mapping[str, float | int | None], digits: int) -> str:
    """Format what :py:func:`~scdl_components.report.table.statistics` returns as ``mean ± std (n)``."""
    deviation = "" if found["std"] is None else f" ± {found['std']:.{digits}f}"
    return f"{number(found['mean'], digits)}{deviation} ({found['n']})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; the first column is aligned left, the others right."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (header, *rows)]
    first, *others = (max(map(len, column)) for column in zip(*lines))
    texts = [[line[0].ljust(first), *(c.rjust(width) for c, width in zip(line[1:], others))] for line in lines]
    texts.insert(1, ["-" * max(first, 3), *("-" * max(width - 1, 2) + ":" for width in others)])
    return "\n".join("| " + " | ".join(line) + " |" for line in texts)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[int] = (), kind: str = "") -> str:
    """Format an HTML table of plain texts; the rows ``strong`` stand out."""

    def line(cells: Sequence[str], tag: str, of: str = "") -> str:
        return f"<tr{of}>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>\n"

    body = "".join(line(row, "td", " class=strong" if i in strong else "") for i, row in enumerate(rows))
    return f'<div class="scroll"><table class="{kind}">{line(header, "th") if header else ""}{body}</table></div>'


def html_details(summary: str, table: str, opened: bool) -> str:
    """Hide a table until its title is clicked, unless it is ``opened``."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{table}</details>"


def html_figure(figure: Figure, caption: str) -> str:
    """Embed a figure as PNG in the page itself."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    data, text = base64.b64encode(png.getvalue()).decode(), escape(caption)
    return f'<figure><figcaption>{text}</figcaption><img alt="{text}" src="data:image/png;base64,{data}"></figure>'


def html_page(heading: str, lead: str, sections: Mapping[str, str]) -> str:
    """Build a whole page of sections {heading: HTML}."""
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{content}" for name, content in sections.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(heading)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{escape(heading)}</h1>\n<p>{escape(lead)}</p>\n{body}\n</body>\n</html>\n"
    )


def write_files(folder: str | Path, texts: Mapping[str, str]) -> None:
    """Write files {name: text}, all or none where one cannot be written.

    Each takes its place when all are on the disk. A process killed in between leaves some of the earlier report.

    Raises:
        StorageError: one cannot be written; what an earlier report left is as it was.
    """
    with ExitStack() as stack:
        for name, text in texts.items():
            file = stack.enter_context(whole_file(Path(folder).expanduser() / name, "Make room or name another folder"))
            file.write(text.encode(errors="backslashreplace"))  # of a path that is no UTF-8
            file.flush()
