# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What decides the result of a preprocessing: what is done, with all its parameters, and the content of the files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

import monai
import torch
from monai.data import ImageReader
from monai.data.meta_obj import get_track_meta
from monai.transforms import Compose

from ..atomic import file_hash, folder_hash

# a new version of one of these may read, resample or save otherwise
LIBRARIES = ("scdl_components", "monai", "torch", "numpy", "scipy", "nibabel", "pydicom", "itk")
# other formats may keep their voxels in a further file, whose change nobody would notice
WHOLE_FILES = (".nii", ".nii.gz", ".dcm")


def describe(recipe: object) -> str:
    """What is done to cases, with all its parameters, their sources and the versions of the libraries, as JSON.

    What is in an object is found as pickle finds it. Of one's own code a change is seen where it is made in the module
    of a class or function that the recipe holds, and not in a module that this one calls.

    Raises:
        TypeError, ValueError: it holds what cannot be told apart in words: a lambda, an open file, itself.
    """
    content = {
        "versions": {name: _version(name) for name in LIBRARIES},
        "settings": {"track_meta": get_track_meta(), "use_compiled": monai.config.USE_COMPILED},
        "recipe": recipe,
    }
    return json.dumps(content, default=_parts, indent=1)


def recipe_of(compose: Compose, end: int | None = None) -> dict[str, object]:
    """What is done by transforms, without those from index ``end`` on."""
    settings = {name: getattr(compose, name) for name in ("map_items", "unpack_items", "lazy", "overrides")}
    return {**settings, "transforms": compose.transforms[:end]}


def digest_case(case: Mapping[str, object]) -> str:
    """Digest of a case's content: of its files the bytes, wherever they lie and whatever they are called.

    Args:
        case: values by key; what is the path of a NIfTI file or of a folder, or a list of those, stands for what is
            there.

    Raises:
        TypeError, ValueError: a value cannot be told in words, or a file may not hold all of its volume.
        OSError: a file cannot be read.
    """
    content = {key: _content(value) for key, value in sorted(case.items())}
    return hashlib.sha256(json.dumps(content, default=_parts).encode()).hexdigest()


def _content(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_content(part) for part in value]
    if not isinstance(value, (str, os.PathLike)) or not os.path.exists(value):
        return value
    path = Path(value)
    if path.is_dir():
        return folder_hash(path)
    suffix = next((end for end in WHOLE_FILES if path.name.lower().endswith(end)), None)
    if suffix is None or not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path} is no {', '.join(WHOLE_FILES)} file or folder: a part of it may be in another file")
    return [suffix, file_hash(path)]


def _parts(value: object) -> object:
    """What JSON cannot say, in terms of what it can or of further such parts."""
    if isinstance(value, (type, FunctionType)) or isinstance(getattr(value, "__self__", None), ModuleType):
        name = f"{value.__module__}.{value.__qualname__}"
        if _find(value.__module__, value.__qualname__) is not value:
            raise TypeError(f"{name} cannot be found by its name; define it with def or class in a module")
        modules = {part.__module__ for part in (value.__mro__ if isinstance(value, type) else (value,))}
        return {"name": name, "sources": {module: _digest_source(module) for module in sorted(modules)}}
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, torch.Tensor):
        return [type(value), value.detach().cpu().numpy()]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(part, default=_parts) for part in value)
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):  # the name of what there is one of, such as torch.float32
        return [type(value), reduced]
    function, arguments, state, items, pairs = (*reduced[:5], None, None, None)[:5]
    if isinstance(value, ImageReader):  # keeps what it read last
        state = {key: part for key, part in (state or {}).items() if key not in ("filenames", "has_series")}
    return [function, arguments, state, list(items or ()), list(pairs or ())]


def _find(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


@cache
def _digest_source(module: str) -> str | None:
    path = getattr(sys.modules[module], "__file__", None) or ""
    return file_hash(Path(path)) if path.endswith(".py") else None


@cache
def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
