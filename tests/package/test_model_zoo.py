# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The model zoo's own checks on what would be a pull request to it.

Its scripts are no part of this repository: MODEL_ZOO names a checkout of Project-MONAI/model-zoo.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_env import requirements

ROOT = Path(__file__).parents[2]
BUNDLES = ("scdl_synapse", "scdl_amos")
SCHEMA = ROOT / "tests" / "reference" / "meta_schema_20240725.json"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("MODEL_ZOO" not in os.environ, reason="MODEL_ZOO names no checkout of the model zoo"),
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    """The zoo with both bundles in it, whose weights, untrained ones, are on the web."""
    folder, repository = tmp_path_factory.mktemp("zoo"), tmp_path_factory.mktemp("repository")
    checkout = Path(os.environ["MODEL_ZOO"])
    shutil.copytree(checkout / "ci", folder / "ci")
    for file in ("setup.cfg", "pyproject.toml", "models/model_info.json"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(checkout / file, folder / file)
    weights = {name: str(untrained(name, tmp_path_factory.mktemp(name) / "model.pt")) for name in BUNDLES}
    package(
        "build", "--output", repository / "dist", "--weights", weights, "--weights_url", (repository / "dist").as_uri()
    )
    for source in ("scripts", "scdl_components"):
        shutil.copytree(ROOT / source, repository / source)
    package("zoo", "--root", repository, "--output", folder)
    for name in BUNDLES:  # ci/prepare_schema.py fetches it from GitHub
        (folder / "models" / name / "eval").mkdir()
        shutil.copy(SCHEMA, folder / "models" / name / "eval" / "schema.json")
    return folder


def untrained(name: str, file: Path) -> Path:
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs" / "inference.yaml")
    parser["bundle_root"] = str(ROOT / "bundles" / name)
    torch.save(parser.get_parsed_content("network_def").state_dict(), file)
    return file


def package(*words: object) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "package.py", *map(str, words)], check=True)


def run(zoo: Path, *words: str) -> str:
    """Output of Python in the zoo's folder, where the bundle's own code is the only one."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, *words],
        cwd=zoo,
        env={
            **environment,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },  # torchrun
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize("tool", ["isort --check", "black --skip-magic-trailing-comma --check", "flake8 --count"])
def test_format(zoo, tool):
    """As its runtests.sh does it."""
    name = tool.split()[0]
    program = [sys.executable, "-m", name] if find_spec(name) else [shutil.which(name) or pytest.skip(f"no {name}")]
    result = subprocess.run([*program, *tool.split()[1:], "."], cwd=zoo, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", BUNDLES)
def test_requirements(zoo, name):
    assert run(zoo, "ci/get_bundle_requirements.py", "--b", name).split()[-1] == f"requirements_{name}.txt"
    metadata = json.loads((zoo / "models" / name / "configs" / "metadata.json").read_text())
    assert set((zoo / f"requirements_{name}.txt").read_text().split()) == set(requirements(metadata))


@pytest.mark.parametrize("name", BUNDLES)
def test_verify_bundle(zoo, name):
    output = run(zoo, "ci/verify_bundle.py", "--b", name)
    for what in ("directory is", "version and changelog are", "metadata format is", "properties are", "data shape is"):
        assert f"{what} verified correctly" in output
    assert "export weights into TorchScript module successfully" in output


@pytest.mark.parametrize("name", BUNDLES)
def test_unit_tests(zoo, name):
    output = run(zoo, "ci/unit_tests/runner.py", "--b", name)
    assert "Ran 3 tests" in output and "\nOK\n" in output


def test_unit_test_of_several_processes(zoo):
    output = run(zoo, "-m", "torch.distributed.run", "ci/unit_tests/runner.py", "--b", BUNDLES[0], "--dist", "True")
    assert "Ran 1 test in" in output and "\nOK\n" in output
