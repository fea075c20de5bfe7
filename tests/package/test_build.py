# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""scripts/package.py, run on a copy of the repository with its own commit."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scdl_components import __version__

ROOT = Path(__file__).parents[2]
BUNDLES = ("scdl_synapse", "scdl_amos")


def package(repository: Path, *words: object, check: bool = True) -> str:
    """Output of the repository's own package command."""
    command = [sys.executable, repository / "scripts" / "package.py", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    result = subprocess.run(
        command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert (result.returncode == 0) == check, result.stdout
    return result.stdout


def git(repository: Path, *words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    date = {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z"}
    subprocess.run(["git", *identity, *words], cwd=repository, env={**os.environ, **date}, check=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    """What of this repository is packed, in a commit."""
    copy = tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__", "models", "eval", "phantom_data", "*.egg-info")
    for folder in ("bundles", "scdl_components", "scripts"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in BUNDLES:
        shutil.rmtree(copy / "bundles" / name / "data", ignore_errors=True)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / file, copy)
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "all")
    return copy


def weights(folder: Path, bundle: str, **overrides: object) -> Path:
    """Untrained weights of a bundle's network."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / bundle / "configs" / "inference.yaml")
    parser["bundle_root"] = str(ROOT / "bundles" / bundle)
    parser.update(overrides)
    folder.mkdir(exist_ok=True)
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
    return folder / "model.pt"


def test_same_commit_same_bytes(repository, tmp_path):
    first = package(repository, "build", "--output", tmp_path / "first")
    # what runs leave behind, and when files were written, must not matter
    (repository / "bundles" / "scdl_synapse" / "models").mkdir()
    (repository / "bundles" / "scdl_synapse" / "models" / "model.pt").write_bytes(b"of a demo")
    (repository / "scdl_components" / "notes.txt").write_text("not in git")
    for file in (repository / "scdl_components").rglob("*.py"):
        os.utime(file, (0, 0))
        file.chmod(0o600)
    second = package(repository, "build", "--output", tmp_path / "second")
    names = [
        f"scdl_amos_v{__version__}.zip",
        f"scdl_components-{__version__}-py3-none-any.whl",
        f"scdl_synapse_v{__version__}.zip",
    ]
    for folder, output in (("first", first), ("second", second)):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
        hashes = [hashlib.sha256((tmp_path / folder / name).read_bytes()).hexdigest() for name in names]
        assert [line.split()[0] for line in output.splitlines() if ".zip" in line or ".whl" in line] == hashes
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert_content(tmp_path / "first", repository)


def assert_content(folder: Path, repository: Path) -> None:
    sources = {str(p.relative_to(repository)) for p in (repository / "scdl_components").rglob("*.py")}
    for name in BUNDLES:
        with zipfile.ZipFile(folder / f"{name}_v{__version__}.zip") as archive:
            content = {path.removeprefix(f"{name}/") for path in archive.namelist()}
            assert all(path.startswith(f"{name}/") for path in archive.namelist())
        assert sources <= content
        configs = {f"configs/{file.name}" for file in (ROOT / "bundles" / name / "configs").glob("*.yaml")}
        assert configs | {"configs/metadata.json", "LICENSE", "docs/README.md", "docs/data_license.txt"} <= content
        assert not {path for path in content if path.startswith(("models/", "eval/", "data/")) or path.endswith(".pyc")}
    with zipfile.ZipFile(folder / f"scdl_components-{__version__}-py3-none-any.whl") as wheel:
        assert sources <= set(wheel.namelist()) and "scdl_components/notes.txt" not in wheel.namelist()


def test_tools_work_inside_an_unpacked_zip(repository, tmp_path):
    """The command of the bundle's README, with the code that the zip brings."""
    package(repository, "build", "--output", tmp_path / "dist")
    with zipfile.ZipFile(tmp_path / "dist" / f"scdl_synapse_v{__version__}.zip") as archive:
        archive.extractall(tmp_path)
    bundle = tmp_path / "scdl_synapse"

    def output(*words: str) -> str:
        command = [sys.executable, *words]
        environment = {**os.environ, "PYTHONPATH": ""}
        return subprocess.check_output(command, cwd=bundle, env=environment, text=True)

    found = output("-c", "import scdl_components; print(scdl_components.__file__)").strip()
    assert found == str(bundle / "scdl_components" / "__init__.py")
    sizes = "--num_labeled 2 --num_unlabeled 1 --num_validation 1 --num_test 1 --spacing [12,12,12]"
    output("-m", "scdl_components", "phantom", "--output_dir", "data/phantom", *sizes.split())
    readme = (bundle / "docs" / "README.md").read_text()
    (line,) = (line for line in readme.splitlines() if line.startswith("python -m scdl_components check"))
    words = line.replace("/path/of/data", "data/phantom").split()[1:]
    assert "0 error(s)" in output(*words, "--case_list", "case_list.json")


def test_version_follows(repository):
    files = [repository / "bundles" / name / "configs" / "metadata.json" for name in BUNDLES]
    before = [json.loads(file.read_text())["changelog"] for file in files]
    package(repository, "new_version", "9.9.0", "AMOS, MR left out")
    for file, changelog in zip(files, before):
        metadata = json.loads(file.read_text())
        assert metadata["version"] == "9.9.0"
        assert metadata["changelog"] == {"9.9.0": "AMOS, MR left out", **changelog}
    git(repository, "commit", "--quiet", "--all", "--message", "9.9.0")
    output = package(repository, "build", "--output", "dist")
    assert "scdl_amos_v9.9.0.zip" in output and "scdl_components-9.9.0" in output and "warning" not in output
    assert "already" in package(repository, "new_version", "9.9.0", "again", check=False)
    assert "three numbers" in package(repository, "new_version", "next", "again", check=False)


def test_refuses_a_version_without_changelog(repository):
    file = repository / "bundles" / "scdl_amos" / "configs" / "metadata.json"
    before = file.read_text()
    file.write_text(before.replace(f'"{__version__}": ', '"0.0.9": '))
    output = package(repository, "build", "--output", "dist", check=False)
    assert "Traceback" not in output and f"metadata.json' has version {__version__} but its changelog" in output
    file.write_text(before.replace(f'"version": "{__version__}"', '"version": "9.9.0"'))
    output = package(repository, "build", "--output", "dist", check=False)
    assert f"has version 9.9.0, 'scdl_components/__init__.py' has {__version__}" in output and "new_version" in output
    assert not (repository / "dist").exists()


def test_weights(repository, tmp_path):
    large, foreign = weights(tmp_path / "large", "scdl_synapse"), weights(tmp_path / "amos", "scdl_amos")
    words = ("build", "--output", "dist", "--weights")
    output = package(repository, *words, {"scdl_synapse": str(foreign)}, check=False)
    assert "another network" in output and str(foreign) in output
    torch.save({"model": torch.load(large), "settings": {}}, tmp_path / "checkpoint_1.pt")
    output = package(repository, *words, {"scdl_synapse": str(tmp_path / "checkpoint_1.pt")}, check=False)
    assert "holds more than weights (model, settings)" in output
    output = package(repository, *words, {"scdl_synapse": str(large)}, check=False)
    assert "weights_url" in output and "72 MB" in output
    assert "bundles are" in package(repository, *words, {"scdl": str(large)}, check=False)
    assert not (repository / "dist").exists()

    package(repository, *words, {"scdl_synapse": str(large)}, "--weights_url", "https://example.org/weights/")
    assert (repository / "dist" / f"scdl_synapse_v{__version__}_model.pt").read_bytes() == large.read_bytes()
    with zipfile.ZipFile(repository / "dist" / f"scdl_synapse_v{__version__}.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    entries = ConfigParser.load_config_file(tmp_path / "unpacked" / "scdl_synapse" / "large_files.yml")["large_files"]
    assert entries == [
        {
            "path": "models/model.pt",
            "url": f"https://example.org/weights/scdl_synapse_v{__version__}_model.pt",
            "hash_val": hashlib.sha256(large.read_bytes()).hexdigest(),
            "hash_type": "sha256",
        }
    ]


def test_small_weights_travel_inside(repository, tmp_path):
    config = repository / "bundles" / "scdl_amos" / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("num_filters: 16", "num_filters: 4"))
    small = weights(tmp_path / "small", "scdl_amos", num_filters=4)
    output = package(repository, "build", "--output", "dist", "--weights", {"scdl_amos": str(small)})
    assert "warning: these changes are in no commit" in output
    with zipfile.ZipFile(repository / "dist" / f"scdl_amos_v{__version__}.zip") as archive:
        assert archive.read("scdl_amos/models/model.pt") == small.read_bytes()


def test_zoo_needs_the_zips(repository):
    assert "package.py build first" in package(repository, "zoo", check=False)
