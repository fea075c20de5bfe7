# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Guard of SCDL: trained to the end, it may not end below the same training without it.

    python -m benchmarks.study.guard --folder guard          # an hour on one core; ends with 1 where they do

An earlier default learned faster and then lost what it had learned, after 2,500 iterations and more (docs/history.md):
a short training does not see that. The phantoms are of four organs, so that an iteration is short.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.study import run
from benchmarks.study.runs import find_runs
from scdl_components.command import run_command
from scdl_components.errors import UserError

ORGANS = ("background", "spleen", "left kidney", "liver", "left adrenal gland")
LAST = 3  # validations that are averaged: one says little


class FallError(UserError):
    """SCDL ends below its host."""


def main(
    folder: str, seeds: Sequence[int] = (100,), margin: float = 0.03, max_iterations: int = 4500, **overrides: object
) -> None:
    """Trains the host without and with SCDL, and compares the means of their last validations.

    Args:
        folder: of the runs; finished ones are kept.
        seeds: of the trainings.
        margin: how far below its host SCDL may end, in mean Dice over the seeds; noise of one seed is 0.03.
        max_iterations: of each training.
        overrides: keys of the configs for both.

    Raises:
        FallError: it ends further below.
    """
    keys = {
        "class_names": list(ORGANS),
        "dataset_dir#seed": 1,
        "val_interval": max(1, max_iterations // 9),
        **overrides,
    }
    methods = ("cps_ga", "scdl")
    run.main(folder, methods, seeds, cases="validation", max_iterations=max_iterations, **keys)
    (runs,) = find_runs(folder)[0].values()
    host, with_scdl = (np.mean([list(each.curves["mean"].values())[-LAST:] for each in runs[name]]) for name in methods)
    told = f"mean Dice of the last {LAST} validations: {with_scdl:.3f} with SCDL, {host:.3f} without"
    if with_scdl < host - margin:
        raise FallError(f"SCDL falls below its host: {told}")
    print(told)


if __name__ == "__main__":
    run_command(main)
