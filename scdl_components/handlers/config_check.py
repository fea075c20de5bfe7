# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A training's settings as plain values, saved and compared key by key."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

from ..atomic import path_hash
from ..bundle import leaves, running_workflow
from ..distributed import on_rank_zero

Settings = dict[str, Any]
SHOWN = 120  # characters of a value in a message
NOT_THERE = "not there"
# ids that may change at a resume, with all below them: places, machine, logs; cases are compared by content
FREE = (
    *("bundle_root", "facts", "dataset_dir", "case_list", "labeled_percent", "cache_dir", "ckpt_dir", "output_dir"),
    *("resume", "allow_changed", "load_cases", "train#check", "train#start"),
    *("train#checkpoint", "train#nonfinite_check"),
    *("device", "num_workers", "cache_rate", "reuse_memory"),
    *("train#memory_format", "train#trainer#compile", "train#trainer#cuda_graph"),
    *("val_interval", "log_interval", "imports", "initialize", "run", "steps", "training", "finalize"),
    # of multi_gpu_train.yaml
    *("backend", "timeout_minutes", "sync_batch_norm", "network", "train#trainer#parallel", "rank", "world_size"),
    *("validate#share", "validate#dataloader"),
    # of MONAI's tracking
    *("run_name", "tracking_uri", "experiment_name", "save_execute_config", "is_not_rank0"),
)


@on_rank_zero
def training_settings(cases: Mapping[str, Sequence[Mapping[str, str]]]) -> Settings | None:
    """Collect the settings of the running config and its cases, for later comparison.

    Args:
        cases: list name -> items ``{"image": path, "label": path}``; their names and contents count, not their folders.

    Returns:
        Value by id, ids joined by ``#``; None outside of MONAI's runner.
    """
    workflow = running_workflow()
    if workflow is None:
        return None
    values = {key: value for key, value in workflow.parser.get().items() if key != "_meta_"}
    with ThreadPool(min(os.cpu_count() or 1, 8)) as pool:  # hashing releases the interpreter's lock
        values["cases"] = {name: pool.map(_fingerprint, items) for name, items in cases.items()}
    # through JSON, so that values compare equal after they were saved and read
    flat = leaves(json.loads(json.dumps(values, default=str)))
    return {key: value for key, value in flat.items() if not covered(key, FREE)}


def cases_are_given(settings: Settings | None) -> bool:
    """Tell whether the labeled cases stand in the config itself, as in MONAI Label."""
    return any(key.startswith("train#dataset#data#") for key in settings or ())


def covered(key: str, ids: Iterable[str]) -> bool:
    """Tell whether an id is one of ``ids`` or below one."""
    ids = [id_.replace("::", "#") for id_ in ids]  # as MONAI rewrites a # within a config's values
    return any(key == id_ or key.startswith(f"{id_}#") for id_ in ids)


def changes(before: Settings | None, now: Settings | None) -> dict[str, str]:
    """Describe each setting that differs; none where one side is unknown."""
    if before is None or now is None:
        return {}
    keys = [*before, *(key for key in now if key not in before)]
    found = {key: (before.get(key, NOT_THERE), now.get(key, NOT_THERE)) for key in keys}
    return {key: _difference(*pair) for key, pair in found.items() if pair[0] != pair[1]}


def _difference(before: object, now: object) -> str:
    if isinstance(before, list) and isinstance(now, list) and len(repr((before, now))) > SHOWN:
        gone, new = [v for v in before if v not in now], [v for v in now if v not in before]
        if not gone and not new:
            return "another order"
        return f"{len(before)} -> {len(now)} entries; gone: {_short(gone)}; new: {_short(new)}"
    return f"{_short(before)} -> {_short(now)}"


def _short(value: object) -> str:
    text = str(value) if value == NOT_THERE else repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _fingerprint(item: Mapping[str, str]) -> str:
    """Name a case's files, each with the beginning of its hash."""
    paths = [os.fspath(item[key]) for key in ("image", "label") if item.get(key)]
    return " ".join(f"{os.path.basename(os.path.normpath(path))} ({_content(path)})" for path in paths)


def _content(path: str) -> str:
    try:
        if os.path.isdir(path) or os.path.isfile(path):  # opening a pipe would wait for ever
            return path_hash(path)[:12]
    except OSError:
        pass
    return "unreadable"  # the input check says why
