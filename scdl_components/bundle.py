# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Where a bundle's config finds its own folder."""

from __future__ import annotations

import sys
from pathlib import Path

from monai.bundle import ConfigWorkflow
from monai.utils import ensure_tuple


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


def _running_configs():
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            yield caller.config_root_path
        # the name that ckpt_export, verify_net_in_out and their like give to their argument
        elif frame.f_globals.get("__name__") == "monai.bundle.scripts" and frame.f_locals.get("config_file_"):
            yield Path(ensure_tuple(frame.f_locals["config_file_"])[0]).parent
        frame = frame.f_back
