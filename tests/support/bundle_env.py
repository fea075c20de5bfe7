# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of somebody who has a bundle's zip and nothing of this repository: what its metadata lists."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# the CPU build of PyTorch; a machine whose pip brings wheels of its own (PIP_FIND_LINKS) is left to them
INDEX = [] if os.environ.get("PIP_FIND_LINKS") else ["--index-url", "https://download.pytorch.org/whl/cpu"]


def requirements(metadata: dict) -> list[str]:
    """What the model zoo installs for a bundle: the versions of its metadata.json."""
    versions = {key: metadata[f"{name}_version"] for key, name in (("monai", "monai"), ("numpy", "numpy"))}
    versions |= {"torch": metadata["pytorch_version"], **metadata["required_packages_version"]}
    return [f"{name}=={version}" for name, version in versions.items()]


def bundle_python(metadata_file: Path) -> Path:
    """Interpreter of that environment, made in build/ when it is not there yet."""
    needed = requirements(json.loads(metadata_file.read_text()))
    name = hashlib.sha256("\n".join([sys.version, *needed]).encode()).hexdigest()[:12]
    environment = ROOT / "build" / f"bundle_env_{name}"
    python = environment / "bin" / "python"
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *INDEX, *(word for word in needed if word.startswith("torch="))], check=True)
        subprocess.run([*install, *needed], check=True)
        (environment / "ready").touch()
    return python
