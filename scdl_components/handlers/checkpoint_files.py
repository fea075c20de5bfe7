# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a training's checkpoint folder, and what an earlier training left there."""

import logging
import re
import shutil
from pathlib import Path

from ..atomic import PART
from ..distributed import on_rank_zero

logger = logging.getLogger(__name__)
WEIGHTS = ("model.pt", "model_final.pt")


def checkpoints_in(folder: str | Path) -> list[Path]:
    """List the checkpoints of a folder, the one of the latest iteration first."""
    found = [path for path in Path(folder).glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+", path.stem)]
    return sorted(found, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """Read the iteration from a checkpoint's name."""
    return int(path.stem.removeprefix("checkpoint_"))


@on_rank_zero
def make_room(folder: str | Path, done: int | None = None, keep: bool = True) -> None:
    """Make the folder, and move what the training does not go on from.

    Args:
        folder: of the training's checkpoints.
        done: iteration of the checkpoint in this folder that the training goes on from; None: it starts anew.
        keep: move it to ``earlier_<n>``; False removes its checkpoints.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(f"*.pt{PART}"):  # of a process that was killed
        part.unlink(missing_ok=True)
    files = [path for path in checkpoints_in(folder) if done is None or iteration_of(path) > done]
    if not keep:
        for path in files:
            path.unlink(missing_ok=True)
        return
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()] if done is None else []
    weights = [path for path in weights if path.stat().st_nlink == 1]  # not those kept by an earlier start
    if files or weights:
        earlier = next(f for n in range(1, 10**6) if not (f := folder / f"earlier_{n}").exists())
        earlier.mkdir()
        for path in files:
            path.rename(earlier / path.name)
        for path in weights:
            link_or_copy(path, earlier / path.name)
        logger.warning("what an earlier training left in %s is in %s now", folder, earlier)


def link_or_copy(source: Path, target: Path) -> None:
    """Link or copy a file, so that its content stays when it is overwritten."""
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
