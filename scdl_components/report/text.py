# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Tables as Markdown and HTML, and an HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

NO_VALUE = "–"

STYLE = """
:root { --ink: #1f2933; --soft: #616e7c; --line: #d9dee4; --band: #f4f6f8; --accent: #33658a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p, li { max-width: 78ch; }
.lead { color: var(--soft); margin-top: 0; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0 .4rem; }
.tile { flex: 1 1 150px; border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; }
.tile span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
td:first-child, th:first-child { text-align: left; }
tbody tr:hover { background: var(--band); }
tr.strong td { font-weight: 600; background: var(--band); }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--soft); white-space: nowrap; vertical-align: top; }
figure { margin: 1rem 0 1.6rem; }
figure img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
figcaption { color: var(--soft); font-size: .88rem; margin-bottom: .35rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


def number(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    return NO_VALUE if value is None or value != value else f"{value:.{digits}f}"


def mean_and_std(found: dict[str, float | int | None], digits: int) -> str:
    """``mean ± std (n)`` of what :py:func:`scdl_components.report.summary.statistics` returns."""
    return f"{spread(found, digits)} ({found['n']})"


def spread(found: dict[str, float | int | None], digits: int) -> str:
    """``mean ± std`` of the same."""
    deviation = "" if found["std"] is None else f" ± {found['std']:.{digits}f}"
    return number(found["mean"], digits) + deviation


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[int] = (), kind: str = "") -> str:
    """An HTML table of plain texts; ``strong`` are the indices of rows that stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=strong' if i in strong else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        for i, row in enumerate(rows)
    )
    head = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>\n{body}</tbody></table></div>'


def html_tiles(tiles: Sequence[tuple[str, str]]) -> str:
    """Figures to see first: (value, what it is)."""
    inner = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in tiles)
    return f'<div class="tiles">{inner}</div>'


def html_image(path: Path, caption: str) -> str:
    """A PNG within the page itself."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = escape(caption)
    return (
        f'<figure><figcaption>{text}</figcaption><img alt="{text}" src="data:image/png;base64,{data}"></figure>'
    )


def html_page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole page: sections of (heading, HTML); one without a heading stands alone."""
    body = "\n".join((f"<h2>{escape(heading)}</h2>\n" if heading else "") + content for heading, content in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f'<body>\n<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )
