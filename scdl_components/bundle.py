# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What a running config does not know: its bundle, its workflow, its series."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils import ensure_tuple

from .errors import InputError, MissingFileError, tell_user_errors

logger = logging.getLogger(__name__)

# what MONAI, its tracking and MONAI Label read or add themselves
MONAIS_KEYS = {
    *("imports", "initialize", "run", "training", "evaluating", "steps", "finalize", "_meta_", "displayable_configs"),
    *("run_name", "tracking_uri", "experiment_name", "save_execute_config", "is_not_rank0"),
}


def bundle_root() -> str:
    """Find the folder of the bundle whose config is being evaluated.

    MONAI tells a config nothing of its own place, and the working directory is the user's. So the running
    :py:class:`ConfigWorkflow` (or MONAI's export and verify commands) is looked up among the callers. Elsewhere, as in
    MONAI Deploy, it is the working directory where that is a bundle's, else the first bundle on the Python path.

    Returns:
        The folder; the working directory where there is no bundle.
    """
    for frame in _callers():
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            folder = Path(caller.config_root_path).resolve()
        # the name that ckpt_export, verify_net_in_out and their like give to their argument
        elif frame.f_globals.get("__name__") == "monai.bundle.scripts" and frame.f_locals.get("config_file_"):
            folder = Path(ensure_tuple(frame.f_locals["config_file_"])[0]).resolve().parent
        else:
            continue
        return str(folder.parent if folder.name == "configs" else folder)
    bundles = (folder for folder in (".", *sys.path) if Path(folder, "configs", "metadata.json").is_file())
    return str(Path(next(bundles, ".")).resolve())


def dataset_facts(bundle_root: str) -> dict[str, object]:
    """Read what a bundle's metadata.json says of its dataset.

    Returns:
        ``class_names`` (background first), ``case_list``, ``labeled_percent``, ``layouts``, ``other_modalities``,
        ``where_to_get`` as they stand there, and ``phantom_hint``, how to run without the dataset.

    Raises:
        MissingFileError: there is no such file.
    """
    metadata = Path(bundle_root) / "configs" / "metadata.json"
    names = class_names(str(metadata))
    files = [f"'{metadata.parent / name}.yaml'" for name in ("train", "phantom")]
    hint = f'--config_file "[{",".join(files)}]"'
    return {"class_names": names, "phantom_hint": hint, **json.loads(metadata.read_text(encoding="utf-8"))["dataset"]}


def names_by_value(names: Mapping[str, str]) -> list[str]:
    """Sort the names of ``{"0": "background", "1": …}`` by their values.

    Raises:
        InputError: when a value has no name.
    """
    missing = [value for value in range(len(names)) if str(value) not in names]
    if missing:
        raise InputError(
            f"names of classes are {dict(names)}; expected one for each value from 0, there is none for {missing}"
        )
    return [names[str(value)] for value in range(len(names))]


def class_names(metadata: str) -> list[str]:
    """Read the names by value, background first, from a bundle's metadata.json.

    Raises:
        MissingFileError: when there is no such file.
    """
    if not Path(metadata).is_file():
        raise MissingFileError(
            f"no metadata at {metadata}: name a bundle's configs/metadata.json with --metadata, or in a config its folder "
            "with --bundle_root"
        )
    content = json.loads(Path(metadata).read_text(encoding="utf-8"))
    return names_by_value(content["network_data_format"]["outputs"]["pred"]["channel_def"])


def running_workflow() -> ConfigWorkflow | None:
    """Find the workflow that evaluates the caller's config, if one does."""
    selves = (frame.f_locals.get("self") for frame in _callers())
    return next((caller for caller in selves if isinstance(caller, ConfigWorkflow)), None)


def served_series() -> tuple[str, str] | None:
    """Find the DICOM series that MONAI Label's server got by DICOMweb and segments now.

    The server converts it to a NIfTI file, whose name at the first request says nothing of the series.

    Returns:
        UID and modality; None outside of the server, and where the server has a folder of files.
    """
    for frame in _callers():
        if frame.f_globals.get("__name__") == "monailabel.interfaces.app" and "datastore" in frame.f_locals:
            image = frame.f_locals["image_id"]
            modality = frame.f_locals["datastore"].get_image_info(image).get("Modality")
            return (image, modality) if modality else None
    return None


def run_section(section: str, needs: Mapping[str, str] | None = None) -> None:
    """Evaluate a list of the running config, item by item, as MONAI does with ``run``.

    MONAI builds what an item refers to before it evaluates the item: an error of these parts can only be caught here.

    Args:
        section: id of the list; not a reference, which MONAI would evaluate itself.
        needs: id that the section refers to -> config file that brings it.

    Raises:
        InputError: an id of ``needs`` is not there, or a key is unknown (:func:`check_keys`).
        SystemExit: with status 1 in place of a user error, where MONAI's command runs
            (:func:`~scdl_components.errors.tell_user_errors`).
    """
    workflow = running_workflow()
    parser = workflow.parser
    with tell_user_errors():
        for id_, file in (needs or {}).items():
            if id_ not in parser:
                there = workflow.config_root_path / file
                raise InputError(f"these configs have no '{id_}': give {there} in place of the first one")
        check_keys(parser.get(), workflow.config_root_path)
        read_words(parser)
        for index in range(len(parser[section])):
            item = f"{section}::{index}"
            parser.get_parsed_content(item)
            # it may run again; with Slicer's empty run_id MONAI evaluates all of the config, this item included
            if workflow.run_id:
                parser.ref_resolver.remove_resolved_content(item)


def check_keys(config: Mapping[str, object], configs_dir: str | Path) -> None:
    """Refuse top-level keys that nothing refers to; warn of SCDL's keys where it is off.

    Args:
        config: content of the running config, overlays and overrides included.
        configs_dir: folder of the bundle's configs. Training keys are known in inference, too: phantom.yaml sets some.

    Raises:
        InputError: there is one; the message names the nearest key or id.
    """
    referred = re.findall(r"[@%](\w+)", json.dumps(config, default=str))
    files = [file for file in Path(configs_dir).glob("*.yaml") if file.stem not in ("inference", "evaluate", "deploy")]
    shipped = {file.stem: ConfigParser.load_config_file(file) for file in files}
    known = {key.split("#")[0].lstrip("+") for content in shipped.values() for key in content}
    known |= MONAIS_KEYS | set(referred)
    ids = {id_.rpartition("#")[2]: id_ for id_ in reversed(leaves(config))}
    problems = []
    for key in (key for key in config if key not in known):
        near = [ids[key]] if ids.get(key, key) != key else get_close_matches(key, known, n=1)
        problems.append(f"there is no key '{key}'" + "".join(f"; did you mean {name}?" for name in near))
    if problems:
        raise InputError("\n".join(problems))
    if str(config.get("scdl")).lower() == "false":
        default = shipped.get("train", {})
        if changed := [
            key for key in ("scdl_weight", "scdl_loss") if key in config and config[key] != default.get(key)
        ]:
            logger.warning("SCDL is off (scdl: false), so what was changed in %s has no effect", " and ".join(changed))


def leaves(value: object, prefix: str = "") -> dict[str, Any]:
    """Flatten a config to values by id; lists of plain values are values."""
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        value = {str(i): item for i, item in enumerate(value)}
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= leaves(item, f"{prefix}#{key}" if prefix else str(key))
    return found


def read_words(parser: ConfigParser) -> None:
    """Convert the words true and false of the command line to booleans."""
    for key, value in parser.get().items():
        if isinstance(value, str) and value.lower() in ("true", "false"):
            parser[key] = value.lower() == "true"


def _callers() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
