# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Do features tell the small organs apart better where SCDL was trained along? A probe on those of finished runs.

    python -m benchmarks.study.features --folder study

For each run a small classifier is trained on tokens of its first student's last decoder features, of the labelled
phantoms and with all classes alike; counted is what it finds in tokens of the validation phantoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fire

from benchmarks.study.bank_alone import probed, recalls, tokens_of_run


def main(
    folder: str,
    methods: Sequence[str] = ("cps", "cps_ga", "scdl_published", "scdl"),
    seeds: Sequence[int] = (0, 1, 2),
    num_labeled: int = 2,
    edge: int = 2,
    steps: int = 150,
    output: str = str(Path(__file__).with_suffix(".md")),
) -> None:
    """Writes the table.

    Args:
        folder: of the study.
        methods: whose runs are looked at.
        seeds: likewise.
        num_labeled: likewise.
        edge: of a token in voxels.
        steps: of the probe's training, four patches each.
        output: file to write.
    """
    lines = [
        "# What the features hold",
        "",
        f"`python -m benchmarks.study.features --folder {folder} --seeds '{list(seeds)}' --num_labeled {num_labeled} --steps {steps}`:",
        "recall of a probe, trained with all classes alike on tokens",
        f"of {edge}³ voxels of the labelled phantoms, on the validation phantoms'; seeds {', '.join(map(str, seeds))} in turn.",
        "",
        "| features of | mean of classes | mean of the five smallest organs |",
        "| --- | --- | --- |",
    ]
    for method in methods:
        figures = []
        for seed in seeds:
            run = Path(folder, f"{num_labeled}_labeled", method, f"seed_{seed}")
            tokens, weights, seen, truth = tokens_of_run(run, Path(folder, f"phantoms_{num_labeled}_labeled"), edge)
            figures.append(recalls(probed(tokens, weights, seen, steps, seed=0), truth)[1:])
        cells = " | ".join(", ".join(f"{value:.2f}" for value in column) for column in zip(*figures))
        lines.append(f"| {method} | {cells} |")
        print(lines[-1], flush=True)
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    fire.Fire(main)
