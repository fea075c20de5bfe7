# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The start of a training: anew, or from a checkpoint."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from ..atomic import NOTES, DamagedFileError, read_hashes, read_saved
from ..data.paths import given_path
from ..distributed import on_rank_zero
from ..errors import InputError
from .checkpoint_files import checkpoints_in
from .config_check import Settings, cases_are_given, changes, covered, training_settings

logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """Start of a training: anew, or from a checkpoint.

    Attributes:
        checkpoint: path of the checkpoint to go on from; empty to start anew.
        iteration: number of iterations done.
        validate_first: whether the validation of that iteration is still to come.
        same_validation: whether its validations and the coming ones can be compared.
        origin: path of the checkpoint of another folder that the training began from; empty where there is none.
        keep_earlier: whether what another training left in the folder is kept.
        settings: of the present training, for its checkpoints.
    """

    checkpoint: str = ""
    iteration: int = 0
    validate_first: bool = False
    same_validation: bool = True
    origin: str = ""
    keep_earlier: bool = True
    settings: Settings | None = None


@on_rank_zero
def find_start(
    ckpt_dir: str,
    cases: Mapping[str, Sequence[Mapping[str, str]]],
    resume: str = "auto",
    allow_changed: str | Iterable[str] = (),
    cache_dir: str | os.PathLike | Literal[False] | None = None,
) -> Start:
    """Choose the checkpoint to go on from, and compare its settings with the present ones.

    Nothing is written. A damaged checkpoint is reported, and the one before is taken.

    Args:
        ckpt_dir: folder of the training's checkpoints.
        cases: list name -> items, as in :func:`training_settings`.
        resume: "auto": the newest one of ``ckpt_dir``; "never": start anew; or the path of a checkpoint, of another
            folder only until ``ckpt_dir`` has a checkpoint of the training that began from it. "auto" starts
            anew after a finished training of other settings, and where the cases stand in the config itself (MONAI
            Label, whose every training starts from the present weights).
        allow_changed: ids that may differ from the checkpoint's, with all below them.
        cache_dir: the cases' cache, in which hashes of their files are noted.

    Raises:
        InputError: settings have changed that may not; the message names all.
        DamagedFileError: no checkpoint can be read.
        MissingFileError: ``resume`` names no file.
    """
    if cache_dir:
        read_hashes(Path(given_path(cache_dir, "cache_dir")) / NOTES)
    settings = training_settings(cases)
    if resume == "never":
        return Start(settings=settings)
    if resume == "auto" and cases_are_given(settings):
        return Start(keep_earlier=False, settings=settings)
    path, content, origin = _chosen(ckpt_dir, resume)
    if path is None:
        return Start(settings=settings)
    if "trainer" not in content:
        raise DamagedFileError(f"{path} is no checkpoint_<iteration>.pt: it has no state of a training in it")
    if "version" not in content:
        raise InputError(
            f"{path} is of a training that version 0.1 began, with keys of its own: finish it with that version, or "
            "start anew with --resume never (the earlier files are kept). Its weights can be used: --weights"
        )
    trainer = content["trainer"]
    finished = trainer["iteration"] >= trainer["max_epochs"] * trainer["epoch_length"]
    allowed = [allow_changed] if isinstance(allow_changed, str) else allow_changed
    differing = changes(content["settings"], settings)
    changed = {key: difference for key, difference in differing.items() if not covered(key, allowed)}
    if changed and finished and resume == "auto":
        logger.warning(
            "%s is of a finished training of another configuration (%s): starting anew. To go on from it, name it "
            "with --resume and what may change with --allow_changed",
            path,
            ", ".join(changed),
        )
        return Start(settings=settings)
    if (host := changed.get("host#_target_")) is not None:  # most other differences come with it
        raise InputError(
            f"{path} is of a training with another host ({host}): go on with the overlays it was begun with, start anew with "
            "--resume never (the earlier files are kept), or leave them alone with another --ckpt_dir"
        )
    if changed:
        raise InputError(_refusal(path, changed))
    iteration, state = trainer["iteration"], "is finished" if finished else "goes on"
    way = ". To train anew: --resume never" if finished else ""
    logger.warning("%s: the training %s at iteration %d%s", path, state, iteration, way)
    same = not any(covered(key, ("cases#validation", "validate")) for key in differing)
    return Start(str(path), iteration, content["validate_first"], same, origin, settings=settings)


def _chosen(ckpt_dir: str, resume: str) -> tuple[Path | None, dict, str]:
    """Read the checkpoint to go on from; the third value is the :attr:`Start.origin`."""
    if resume == "auto":
        path, content = _newest(ckpt_dir)
        return path, content, content.get("origin", "")
    named = Path(resume)
    if named.resolve().parent == Path(ckpt_dir).resolve():
        return named, read_saved(named), ""
    origin = str(named.resolve())
    with suppress(DamagedFileError):
        path, content = _newest(ckpt_dir)
        if content.get("origin") == origin:
            return path, content, origin
    return named, read_saved(named), origin


def _newest(folder: str) -> tuple[Path | None, dict]:
    """Read the newest checkpoint that can be read."""
    problems = []
    for path in checkpoints_in(folder):
        try:
            return path, read_saved(path)
        except DamagedFileError as error:
            logger.error("%s; trying the one before", error)
            problems.append(str(error))
    if problems:
        raise DamagedFileError("no checkpoint can be read; start anew with --resume never:\n" + "\n".join(problems))
    return None, {}


def _refusal(path: Path, changed: dict[str, str]) -> str:
    lines = "\n".join(f"- {key}: {difference}" for key, difference in changed.items())
    allowed = str(list(changed)).replace(" ", "")
    return (
        f"{path} is of a training with another configuration; what it was and what it is now:\n{lines}\n"
        f'To go on nevertheless: --allow_changed "{allowed}"; to start anew: --resume never (the earlier files are '
        "kept); to leave them alone: another --ckpt_dir"
    )
