# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI's runner does not tell a config: where its bundle is, and how to end with one message."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from monai.bundle import ConfigWorkflow
from monai.utils import ensure_tuple

from .errors import InputError, exit_in_monais_command


def bundle_root() -> str:
    """Folder of the bundle whose config is being evaluated: the one above the config file's ``configs``.

    MONAI tells a config nothing of its own place, and the working directory is the user's, so the running
    :py:class:`ConfigWorkflow` (or MONAI's export and verify commands) is looked up among the callers.

    Raises:
        RuntimeError: when no caller is one of these, e.g. with a bare ``ConfigParser`` outside of a bundle's folder.
    """
    for config_file in _running_configs():
        folder = Path(config_file).resolve()
        return str(folder.parent if folder.name == "configs" else folder)
    if Path("configs", "metadata.json").is_file():
        return str(Path.cwd())
    raise RuntimeError("cannot tell where the bundle is: set bundle_root, e.g. --bundle_root bundles/scdl_synapse")


def running_workflow() -> ConfigWorkflow | None:
    """The workflow that evaluates the caller's config, if one does."""
    selves = (frame.f_locals.get("self") for frame in _callers())
    return next((caller for caller in selves if isinstance(caller, ConfigWorkflow)), None)


def run_section(section: str, needs: Mapping[str, str] | None = None) -> None:
    """Evaluate a list of the running config, item by item, as MONAI does with ``run``.

    MONAI builds what an item refers to before it evaluates the item, so only who asks for the items sees every error.
    Under ``python -m monai.bundle`` a user error ends the process with its message alone; elsewhere, as in MONAI
    Label's server, it stays an exception.

    Args:
        section: id of the list; not a reference, which MONAI would evaluate itself.
        needs: id that the section refers to -> config file that brings it.

    Raises:
        InputError: an id of ``needs`` is not there.
        SystemExit: in MONAI's command, instead of any user error; status 1.
    """
    workflow = running_workflow()
    parser = workflow.parser
    with exit_in_monais_command():
        for id_, file in (needs or {}).items():
            if id_ not in parser:
                there = workflow.config_root_path / file
                raise InputError(f"these configs have no '{id_}': give {there} in place of the first one")
        for index in range(len(parser[section])):
            item = f"{section}::{index}"
            parser.get_parsed_content(item)
            parser.ref_resolver.remove_resolved_content(item)  # it may be run again


def _callers() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _running_configs() -> Iterator[Path]:
    for frame in _callers():
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            yield caller.config_root_path
        # the name that ckpt_export, verify_net_in_out and their like give to their argument
        elif frame.f_globals.get("__name__") == "monai.bundle.scripts" and frame.f_locals.get("config_file_"):
            yield Path(ensure_tuple(frame.f_locals["config_file_"])[0]).parent
