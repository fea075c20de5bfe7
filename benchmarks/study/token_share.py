# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Does a token ever belong to a small organ? How much of each organ lies in tokens of which it is the larger part.

    python -m benchmarks.study.token_share

L_sep pulls a token towards a class only where the class has more than half of it and pushes it away elsewhere
(exp(−(2w − 1)a), docs/method.md): an organ of which no token has the majority is never learnt from tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fire
import numpy as np
import torch

from scdl_components.data.phantom import SYNAPSE_ORGANS, phantom_case
from scdl_components.proxies import pool_labels, token_grid

OUTPUT = Path(__file__).with_suffix(".md")


def majority_share(weights: torch.Tensor) -> torch.Tensor:
    """Of each class, the share of its voxels that lie in tokens of which it has more than half.

    Args:
        weights: w, [L, C].

    Returns:
        [C], NaN for absent classes.
    """
    return (weights * (weights > 0.5)).sum(0) / weights.sum(0)


def main(
    spacings: Sequence[Sequence[float]] = ((4.0, 4.0, 5.0), (1.5, 1.5, 2.0)),
    edges: Sequence[Sequence[int]] = ((2, 4), (4, 8)),
    num_cases: int = 4,
    output: str = str(OUTPUT),
) -> None:
    """Writes the table.

    Args:
        spacings: in mm, of the study on a CPU and of the bundles.
        edges: of a token in voxels, for each spacing.
        num_cases: phantoms to average over.
        output: file to write.
    """
    names = ["background", *SYNAPSE_ORGANS]
    columns: dict[str, torch.Tensor] = {}
    for spacing, sizes in zip(spacings, edges):
        labels = [np.asarray(phantom_case(0, (1, n), SYNAPSE_ORGANS, tuple(spacing))[1].dataobj) for n in range(num_cases)]
        for edge in sizes:
            shares = []
            for label in labels:
                crop = label[tuple(slice(0, size // edge * edge) for size in label.shape)].astype(np.int64)
                grid = token_grid(crop.shape, edge)
                shares.append(majority_share(pool_labels(torch.from_numpy(crop)[None, None], len(names), grid)[0]))
            width = " × ".join(f"{edge * s:g}" for s in spacing)
            columns[f"{edge} voxels = {width} mm"] = torch.stack(shares).nanmean(0)
    volume = np.mean([np.bincount(label.ravel(), minlength=len(names)) * np.prod(spacing) / 1000 for label in labels], axis=0)
    order = sorted(range(1, len(names)), key=lambda c: -volume[c])
    lines = [
        "# Tokens and small organs",
        "",
        f"`python -m benchmarks.study.token_share`: of each organ of {num_cases} phantoms, the share of its voxels that",
        "lie in tokens of which it has more than half. Where that is 0, L_sep pushes every token of the organ away from",
        "the organ's proxy.",
        "",
        "| organ | ml | " + " | ".join(columns) + " |",
        "| --- " * (2 + len(columns)) + "|",
    ]
    for c in order:
        cells = " | ".join(f"{column[c]:.2f}" for column in columns.values())
        lines.append(f"| {names[c]} | {volume[c]:.0f} | {cells} |")
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    fire.Fire(main)
