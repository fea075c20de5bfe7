# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A built bundle, pushed to the Hugging Face Hub by MONAI and downloaded again; of the hub, the API alone is played."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml
from monai.bundle import download, push_to_hf_hub
from support.runner import BUNDLES

from scdl_components import __version__

huggingface_hub = pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]
REPO = "somebody/scdl_synapse"


class Hub:
    """Repository of the hub: a folder for each of its tags; signatures are those of huggingface_hub."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.main, self.tags = folder, folder / "main", []
        self.api = mock.create_autospec(huggingface_hub.HfApi, instance=True)
        self.api.upload_folder.side_effect = self.upload
        self.api.create_tag.side_effect = self.tag
        refs = mock.create_autospec(huggingface_hub.list_repo_refs, side_effect=lambda repo_id: self.refs())
        snapshot = mock.create_autospec(huggingface_hub.snapshot_download, side_effect=self.snapshot)
        played = {"HfApi": lambda token: self.api, "list_repo_refs": refs, "snapshot_download": snapshot}
        monkeypatch.setattr("monai.bundle.scripts.huggingface_hub", SimpleNamespace(**played))

    def upload(self, repo_id: str, folder_path: str) -> str:
        shutil.copytree(folder_path, self.main, dirs_exist_ok=True)
        return f"https://huggingface.co/{repo_id}"

    def tag(self, repo_id: str, tag: str, exist_ok: bool) -> None:
        assert exist_ok
        if tag not in self.tags:  # the real one leaves a tag where it is, too
            shutil.copytree(self.main, self.folder / tag)
            self.tags.append(tag)

    def refs(self) -> SimpleNamespace:
        return SimpleNamespace(tags=[SimpleNamespace(name=tag) for tag in self.tags], branches=[])

    def snapshot(self, repo_id: str, revision: str, local_dir: str) -> None:
        shutil.copytree(self.folder / revision, local_dir)


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "scripts" / "package.py", "build", "--output", folder], check=True)
    return folder


@pytest.fixture
def bundle(dist, tmp_path) -> Path:
    """The zip of `make package`, unpacked."""
    shutil.unpack_archive(dist / f"scdl_synapse_v{__version__}.zip", tmp_path)
    return tmp_path / "scdl_synapse"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pushed_and_downloaded(bundle, tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub", monkeypatch)
    built = contents(bundle)
    url = push_to_hf_hub(repo=REPO, name=bundle.name, bundle_dir=str(tmp_path), version=__version__)
    assert url.endswith(REPO) and hub.tags == [__version__]
    hub.api.create_repo.assert_called_once_with(repo_id=REPO, private=True, exist_ok=True)
    card = (hub.main / "README.md").read_text()
    front, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front) == {"tags": ["monai", "medical"], "library_name": "monai", "license": "apache-2.0"}
    assert text == (BUNDLES / bundle.name / "docs" / "README.md").read_text()
    assert contents(hub.main) == {**built, "README.md": card.encode()}

    place = tmp_path / "downloaded"
    place.mkdir()
    download(name=bundle.name, source="huggingface_hub", repo=REPO, bundle_dir=str(place))
    assert contents(place / bundle.name) == contents(hub.main)


def test_the_tag_of_the_latest_version_stays_where_it_is(bundle, tmp_path, monkeypatch):
    """Why docs/publishing.md says to name versions."""
    hub = Hub(tmp_path / "hub", monkeypatch)
    for version in ("1.0.0", "2.0.0"):
        (bundle / "version").write_text(version)
        push_to_hf_hub(REPO, bundle.name, str(tmp_path), version=version, tag_as_latest_version=True)
    for version, got in ((None, "1.0.0"), ("2.0.0", "2.0.0")):
        place = tmp_path / str(version)
        place.mkdir()
        download(name=bundle.name, version=version, source="huggingface_hub", repo=REPO, bundle_dir=str(place))
        assert (place / bundle.name / "version").read_text() == got
    assert hub.tags == ["1.0.0", "latest_version", "2.0.0"]
