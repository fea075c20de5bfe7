# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A small organ as two methods segment it, beside the reference; case and organ are chosen by a rule.

python -m benchmarks.study.picture --folder study --output organ.png --methods "['cps_ga','scdl']"
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.transforms import generate_spatial_bounding_box

from benchmarks.study.run import cases_of, own_data
from benchmarks.study.runs import StudyRun, find_runs
from scdl_components.command import run_command
from scdl_components.data.results import SUFFIX, result_names
from scdl_components.errors import InputError
from scdl_components.report.cases import read_case_list
from scdl_components.report.pictures import load_volume, three_planes

MARGIN = 30.0  # mm around the reference


def draw(folder: str, output: str, methods: Sequence[str] = ("cps_ga", "scdl"), num_labeled: int = 2) -> None:
    """Draws the smallest organ as two methods segment it, and prints what is shown, and by which rule.

    Args:
        folder: of the study.
        output: PNG to write.
        methods: two of them.
        num_labeled: labeled cases that they were trained on.

    Raises:
        InputError: the methods have no seed in common, or a file cannot be read.
    """
    if isinstance(methods, str) or len(methods) != 2:
        raise InputError(f"methods is {methods!r}; expected two, e.g. \"['cps_ga','scdl']\"")
    found = find_runs(folder)[0].get(num_labeled, {})
    by_seed = [{run.seed: run for run in found.get(method, ())} for method in methods]
    common = by_seed[0].keys() & by_seed[1].keys()
    if not common:
        raise InputError(
            f"'{folder}' has no seed that is finished with both {' and '.join(methods)} and {num_labeled} labeled "
            f"cases; with so many it has {', '.join(found) or 'none'}"
        )
    first, second = (runs[min(common)] for runs in by_seed)
    organ = [name for name, facts in first.summary["organs"].items() if facts["size_ml"] is not None][-1]
    case, dice = median_case(first, second, organ)
    item = item_of(case, first, Path(folder))
    files = [run.folder / "segmentations" / f"{case}{SUFFIX}" for run in (first, second)]
    names = ["background", *first.evaluated.tables[0].organs]
    image, *volumes = (load_volume(file) for file in (item["image"], item["label"], *files))
    # the organ alone: neighbours would hide where it ends
    masks = [(volume == names.index(organ)) * names.index(organ) for volume in volumes]
    margin = [int(np.ceil(MARGIN / width)) for width in image.pixdim.tolist()]
    box = (slice(None), *map(slice, *generate_spatial_bounding_box(masks[0], margin=margin, allow_smaller=True)))
    shown = {title: mask[box] for title, mask in zip(("reference", *methods), masks)}
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    three_planes(image[box], shown, names).savefig(output)
    print(
        f"The {organ} of {case}: Dice {dice[0]:.3f} with {methods[0]}, {dice[1]:.3f} with {methods[1]}. Chosen by "
        f"rule: the smallest organ ({organ}); of the runs with {num_labeled} labeled, the lowest seed that both have "
        f"({first.seed}); of the cases, the one with the median difference of Dice (the lower of two middle ones). Shown "
        f"is {MARGIN:g} mm around the reference, in slices where that is largest."
    )


def item_of(case: str, run: StudyRun, study: Path) -> dict[str, str]:
    """Image and label of a case that a run was evaluated on.

    Raises:
        InputError: its list has no such case.
    """
    cases, keys = run.done["cases"], run.done["overrides"]
    phantoms = study / f"phantoms_{run.num_labeled}_labeled" / "case_list.json"
    items = cases_of(keys, cases) if own_data(keys) else read_case_list(str(phantoms), cases)
    names = result_names([item["image"] for item in items])
    found = [item for item in items if names[item["image"]] == case]
    if not found:
        raise InputError(f"the list '{cases}' has no case '{case}'; evaluate the runs again")
    return found[0]


def median_case(a: StudyRun, b: StudyRun, organ: str) -> tuple[str, list[float]]:
    """The case with the median difference of an organ's Dice (the lower of two middle ones), and the Dice of both."""
    table = a.evaluated.tables[0]
    column = table.organs.index(organ)
    dice = np.array([run.evaluated.tables[0].values["dice"][:, column] for run in (a, b)])
    difference = dice[1] - dice[0]
    # a case without the organ has no size to look for
    candidates = np.flatnonzero(~np.isnan(difference) & (table.values["volume_reference_ml"][:, column] > 0))
    order = candidates[np.argsort(difference[candidates], kind="stable")]
    chosen = order[(len(order) - 1) // 2]
    return table.cases[chosen], dice[:, chosen].tolist()


if __name__ == "__main__":
    run_command(draw)
