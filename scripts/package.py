# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is published: a zip of each bundle with scdl_components inside, and a wheel of scdl_components, in dist/.

    make package
    python scripts/package.py build --weights "{'scdl_synapse':'models/model.pt'}" --weights_url https://host/folder
    python scripts/package.py new_version 0.2.0 "what has changed"

The same commit gives the same bytes. Only files that git knows are packed, and weights only when they are named.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import fire

from scdl_components.command import run_command
from scdl_components.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = ("scdl_synapse", "scdl_amos")
VERSION_FILE = "scdl_components/__init__.py"
LARGE = 25 * 2**20  # bytes: the model zoo takes no larger file into its repository
WHEEL_SOURCES = ("scdl_components", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def build(
    output: str = "dist", weights: Mapping[str, str] | None = None, weights_url: str = "", root: str | Path = ROOT
) -> None:
    """Builds the zips and the wheel.

    Args:
        output: folder to write to.
        weights: {bundle: file}, e.g. {'scdl_synapse': 'bundles/scdl_synapse/models/model.pt'}. Up to 25 MB they travel
            in the zip as ``models/model.pt``; larger ones are copied to ``output`` to be uploaded, and the zip's
            ``large_files.yml`` has their address and hash.
        weights_url: folder on the web that the large files will be in.
        root: of the repository.

    Raises:
        InputError: the version is not the metadata's or not in its changelog, or weights do not fit; nothing is written.
    """
    root, output, weights = Path(root), Path(output), dict(weights or {})
    version = read_version(root)
    if unknown := set(weights) - set(BUNDLES):
        raise InputError(f"weights of {', '.join(sorted(unknown))}: the bundles are {', '.join(BUNDLES)}")
    uncommitted = git(root, "status", "--porcelain", "--untracked-files=no").strip()
    if uncommitted:
        print(f"warning: these changes are in no commit, and will be in what is built:\n{uncommitted}", file=sys.stderr)
    members = {}
    uploads = {}
    for name in BUNDLES:
        check_version(root / "bundles" / name / "configs" / "metadata.json", version)
        members[name] = bundle_members(root, name)
        if name in weights:
            file = Path(weights[name])
            check_weights(root, name, file)
            upload = f"{name}_v{version}_model.pt"
            if file.stat().st_size <= LARGE:
                members[name][f"{name}/models/model.pt"] = file
            elif weights_url:
                members[name][f"{name}/large_files.yml"] = large_files(file, f"{weights_url.rstrip('/')}/{upload}")
                uploads[upload] = file
            else:
                raise InputError(
                    f"'{file}' has {file.stat().st_size / 2**20:.0f} MB, and the zoo takes none above 25: say where it "
                    "will be uploaded to, --weights_url https://…"
                )
    output.mkdir(parents=True, exist_ok=True)
    for name in BUNDLES:
        write_zip(output / f"{name}_v{version}.zip", members[name])
    for upload, file in uploads.items():
        shutil.copyfile(file, output / upload)
    build_wheel(root, output)
    for path in sorted(output.glob(f"*{version}*")):
        print(f"{sha256(path)}  {path}")


def zoo(output: str = "dist/zoo", root: str | Path = ROOT) -> None:
    """Unpacks what ``build`` has made as a pull request to the model zoo adds it: ``models/`` and ``ci/unit_tests/``.

    Args:
        output: folder to write to, e.g. a checkout of the zoo; what an earlier version left in the bundles' folders
            there is removed.
        root: of the repository.

    Raises:
        InputError: the zips have not been built.
    """
    root, output = Path(root), Path(output)
    version = read_version(root)
    zips = {name: root / "dist" / f"{name}_v{version}.zip" for name in BUNDLES}
    if missing := [str(path) for path in zips.values() if not path.is_file()]:
        raise InputError(f"{', '.join(missing)} not found: run python scripts/package.py build first")
    (output / "ci" / "unit_tests").mkdir(parents=True, exist_ok=True)
    for name, path in zips.items():
        shutil.rmtree(output / "models" / name, ignore_errors=True)
        unpack(path, output / "models")
        for kind in ("", "_dist"):
            test = (root / "scripts" / f"zoo_unit_test{kind}.py").read_text(encoding="utf-8")
            place = output / "ci" / "unit_tests" / f"test_{name}{kind}.py"
            place.write_text(test.replace("scdl_synapse", name), encoding="utf-8")
        print(output / "models" / name)


def unpack(path: Path, folder: Path) -> None:
    """Unpacks a bundle's zip, as MONAI does it.

    Raises:
        InputError: the zip is damaged, or would write outside of ``folder``.
    """
    from monai.apps.utils import extractall  # see check_weights

    try:
        extractall(path, folder, has_base=True)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' is not what make package builds ({error}): build it again") from error


@fire.decorators.SetParseFn(str)
def new_version(version: str, changes: str, root: str | Path = ROOT) -> None:
    """Sets the version where it stands, and makes metadata and changelog of both bundles follow.

    Args:
        version: e.g. 0.2.0.
        changes: entry of the changelog.
        root: of the repository.

    Raises:
        InputError: it is no version, or the changelog has it already.
    """
    root, version = Path(root), str(version)
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise InputError(f"version {version!r}: expected three numbers, e.g. 0.2.0")
    files = [root / "bundles" / name / "configs" / "metadata.json" for name in BUNDLES]
    metadata = {file: json.loads(file.read_text(encoding="utf-8")) for file in files}
    for file, content in metadata.items():
        if version in content["changelog"]:
            raise InputError(f"'{file}' has {version} in its changelog already: take the next number")
    for file, content in metadata.items():
        text = file.read_text(encoding="utf-8")
        # in the text, so that its layout stays; newest first, as in the zoo
        text = text.replace(f'"version": "{content["version"]}"', f'"version": "{version}"', 1)
        entry = f"{json.dumps(version)}: {json.dumps(str(changes), ensure_ascii=False)}"
        text = re.sub(r'("changelog": \{)', lambda match: f"{match[1]}\n        {entry},", text, count=1)
        json.loads(text)
        file.write_text(text, encoding="utf-8")
    path = root / VERSION_FILE
    path.write_text(path.read_text().replace(f'"{read_version(root)}"', f'"{version}"'))


def read_version(root: Path) -> str:
    """The version, from the one place where it stands."""
    return re.search(r'^__version__ = "(.+)"$', (root / VERSION_FILE).read_text(), flags=re.MULTILINE)[1]


def check_version(metadata: Path, version: str) -> None:
    """Refuses metadata of another version, or without a word on this one.

    Raises:
        InputError: see above; the message names file and way out.
    """
    content = json.loads(metadata.read_text(encoding="utf-8"))
    way_out = "set both with: python scripts/package.py new_version <version> '<what has changed>'"
    if content["version"] != version:
        raise InputError(f"'{metadata}' has version {content['version']}, '{VERSION_FILE}' has {version}: {way_out}")
    if version not in content["changelog"]:
        raise InputError(f"'{metadata}' has version {version} but its changelog does not say what changed: {way_out}")


def check_weights(root: Path, name: str, weights: Path) -> None:
    """Refuses weights that are not of the bundle's network, and files that hold more than weights.

    A training's checkpoint names its cases and folders.

    Raises:
        WeightsError: what was found and what was expected.
        InputError: it is a checkpoint.
    """
    # here, as importing MONAI takes longer than building without weights
    import torch
    from monai.bundle import ConfigParser

    from scdl_components.networks.weights import load_weights

    configs = root / "bundles" / name / "configs"
    parser = ConfigParser()
    parser.read_config(configs / "inference.yaml")
    parser["bundle_root"] = str(configs.parent)
    load_weights(str(weights), parser.get_parsed_content("network_def"))
    more = [key for key, value in torch.load(weights, weights_only=True).items() if not isinstance(value, torch.Tensor)]
    if more:
        raise InputError(
            f"'{weights}' holds more than weights ({', '.join(more)}), maybe names of patients: give model.pt"
        )


def bundle_members(root: Path, name: str) -> dict[str, Path | bytes]:
    """What is in a bundle's zip: name there -> file or content."""
    bundle = {f"{name}/{file.relative_to(root / 'bundles' / name)}": file for file in tracked(root, f"bundles/{name}")}
    return bundle | {f"{name}/{file.relative_to(root)}": file for file in tracked(root, "scdl_components")}


def tracked(root: Path, *places: str) -> list[Path]:
    """Files below ``places`` that git knows."""
    files = [root / line for line in git(root, "ls-files", "-z", "--", *places).split("\0") if line]
    return [file for file in files if file.is_file()]  # one deleted since the last commit is still listed


def git(root: Path, *words: str) -> str:
    """Output of a git command."""
    return subprocess.run(["git", "-C", root, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def large_files(weights: Path, url: str) -> bytes:
    """Content of ``large_files.yml``, as the zoo and ``monai.bundle download_large_files`` read it."""
    entry = {"path": "models/model.pt", "url": url, "hash_val": sha256(weights), "hash_type": "sha256"}
    lines = [
        f"{'  - ' if i == 0 else '    '}{key}: {json.dumps(value)}" for i, (key, value) in enumerate(entry.items())
    ]
    return "\n".join(["large_files:", *lines, ""]).encode()


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_zip(path: Path, members: Mapping[str, Path | bytes]) -> None:
    """A zip whose bytes depend on names and contents alone: sorted, no times, stored (zlib's output varies)."""
    temporary = path.with_suffix(".zip.part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            content = members[name]
            info = zipfile.ZipInfo(name)  # its default time is 1980-01-01
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes())
    os.replace(temporary, path)


def build_wheel(root: Path, output: Path) -> None:
    """The wheel of scdl_components, built by pip from a clean copy."""
    commit_time = git(root, "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as folder:
        for file in tracked(root, *WHEEL_SOURCES):
            copy = Path(folder, file.relative_to(root))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(0o644)
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", output.resolve(), "."]
        subprocess.run(words, cwd=folder, env={**os.environ, "SOURCE_DATE_EPOCH": commit_time}, check=True)


if __name__ == "__main__":
    run_command({"build": build, "zoo": zoo, "new_version": new_version})
