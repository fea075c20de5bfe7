# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's zip as its users get it: downloaded from a server into an environment that has only what it lists.

The environment is built in build/ where it is missing (minutes).
"""

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support.bundle_env import bundle_python
from support.runner import REAL_CT, options

from scdl_components import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUNDLES = ("scdl_synapse", "scdl_amos")
SCHEMA = ROOT / "tests" / "reference" / "meta_schema_20240725.json"
TINY_INFERENCE = ("--pixdim", "[8,8,8]", "--roi_size", "[32,32,32]", "--num_filters", "2")
TRAIN_ON_PHANTOMS = ("run", "training", "--config_file", "['{0}/configs/train.yaml','{0}/configs/phantom.yaml']")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "scripts" / "package.py", "build", "--output", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def server(dist) -> Iterator[str]:
    """Address of a web server that has the zips."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(dist))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


class Machine:
    """A machine with MONAI and the packages that the metadata lists, and nothing of this repository."""

    def __init__(self, python: Path) -> None:
        self.python = python
        found = self.run("-c", "import importlib.util as u; print(u.find_spec('scdl_components'))", cwd="/")
        assert found.strip() == "None"

    def run(self, *words: object, **options: object) -> str:
        return self.call([str(self.python), *map(str, words)], **options)

    def call(self, command: list[str], cwd: str | Path, path: str | Path | None = None, check: bool = True) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment = {**kept, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(path)} if path else {})}
        result = subprocess.run(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
        )
        assert (result.returncode == 0) == check, result.stdout
        return result.stdout

    def monai(self, *words: object, **options: object) -> str:
        return self.run("-m", "monai.bundle", *words, **options)

    def shell(self, line: str, **options: object) -> str:
        """A line of a document, as a user's shell takes it."""
        return self.call(["bash", "-c", line.replace("python ", f"'{self.python}' ", 1)], **options)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(bundle_python(ROOT / "bundles" / "scdl_synapse" / "configs" / "metadata.json"))


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request, machine, server, tmp_path_factory) -> Path:
    """A bundle downloaded by MONAI and trained on phantoms from inside its folder."""
    folder = tmp_path_factory.mktemp("downloaded")
    url = f"{server}/{request.param}_v{__version__}.zip"
    words = ("--name", request.param, "--version", __version__, "--url", url, "--bundle_dir", folder)
    machine.monai("download", *words, cwd=folder)
    bundle = folder / request.param
    assert "scdl_components" in {path.name for path in bundle.iterdir()}
    words = [word.format(".") for word in TRAIN_ON_PHANTOMS]
    # long enough to tell organs apart on any processor: a network that has hardly begun may see one alone
    scale = options(max_iterations=100, **{"dataset_dir#spacing": [8, 8, 8]})
    machine.monai(*words, *scale, cwd=bundle)
    assert (bundle / "models" / "model.pt").is_file()
    return bundle


def test_training_from_outside(machine, bundle, tmp_path):
    words = [word.format(bundle) for word in TRAIN_ON_PHANTOMS]
    tiny = options(ckpt_dir=tmp_path, output_dir=tmp_path, **{"dataset_dir#spacing": [8, 8, 8]})
    machine.monai(*words, *tiny, cwd=tmp_path)
    assert (tmp_path / "model.pt").is_file()


@pytest.mark.parametrize("inside", [True, False])
def test_evaluation(machine, bundle, tmp_path, inside):
    root, cwd = (".", bundle) if inside else (bundle, tmp_path)
    files = ",".join(f"'{root}/configs/{name}.yaml'" for name in ("inference", "evaluate", "phantom"))
    words = ("run", "--config_file", f"[{files}]", "--dataset_dir#spacing", "[8,8,8]", "--output_dir", tmp_path)
    machine.monai(*words, *TINY_INFERENCE, cwd=cwd)
    assert (tmp_path / "report_clinical" / "summary.json").is_file()


@pytest.mark.parametrize("inside", [True, False])
def test_checks_of_monai(machine, bundle, tmp_path, inside):
    """Those that the zoo runs; from outside they need to be told where the bundle's Python is, as the zoo's CI does."""
    root, cwd, path = (".", bundle, None) if inside else (bundle, tmp_path, bundle)
    meta = ("--meta_file", f"{root}/configs/metadata.json")
    config = ("--config_file", f"{root}/configs/inference.yaml")
    shutil.copy(SCHEMA, tmp_path / "schema.json")
    output = machine.monai("verify_metadata", *meta, "--filepath", tmp_path / "schema.json", cwd=cwd)
    assert "metadata is verified with no error" in output
    tiny = ("--num_filters", "2")
    output = machine.monai("verify_net_in_out", "network_def", *meta, *config, "--n", "2", *tiny, cwd=cwd, path=path)
    assert "data shape of network is verified with no error" in output


@pytest.mark.parametrize("inside", [True, False])
def test_torchscript_alone(machine, bundle, tmp_path, inside):
    """Exported, and used without the weights and the network's Python; the same labels as those of model.pt."""
    root, cwd, path = (".", bundle, None) if inside else (bundle, tmp_path, bundle)
    config = ("--config_file", f"{root}/configs/inference.yaml")
    meta = ("--meta_file", f"{root}/configs/metadata.json")
    words = ("--filepath", tmp_path / "model.ts", "--ckpt_file", f"{root}/models/model.pt", "--num_filters", "2")
    machine.monai("ckpt_export", "network_def", *words, *meta, *config, cwd=cwd, path=path)
    alone = tmp_path / "alone" / bundle.name
    shutil.copytree(bundle, alone)
    for folder in ("models", "eval", "data"):  # of runs
        shutil.rmtree(alone / folder, ignore_errors=True)
    (alone / "models").mkdir()
    shutil.copy(tmp_path / "model.ts", alone / "models")
    common = ("--dataset_dir", REAL_CT / "ct.nii.gz", "--roi_size", "[32,32,32]", "--pixdim", "[8,8,8]")
    machine.monai("run", *config, *common, "--num_filters", "2", "--output_dir", tmp_path / "pt", cwd=cwd)
    told = next(line for line in (alone / "docs" / "README.md").read_text().splitlines() if "torch.jit.load" in line)
    more = shlex.join(map(str, (*common, "--output_dir", tmp_path / "ts")))
    machine.shell(f"{told.replace('--dataset_dir /path/of/ct.nii.gz', '')} {more}", cwd=alone)
    images = [nibabel.load(tmp_path / kind / "ct_seg.nii.gz") for kind in ("pt", "ts")]
    labels = [np.asarray(image.dataobj) for image in images]
    assert len(np.unique(labels[0])) > 1
    np.testing.assert_array_equal(*labels)
    np.testing.assert_array_equal(images[0].affine, nibabel.load(REAL_CT / "ct.nii.gz").affine)


def test_large_files(machine, dist, server, tmp_path):
    """Weights above 25 MB come from where the zip says, and another file in their place is refused."""
    import torch

    from scdl_components.networks import DualStudent, VNet

    torch.save(DualStudent(VNet(in_channels=1, out_channels=14, num_filters=16)).state_dict(), tmp_path / "model.pt")
    build = [sys.executable, ROOT / "scripts" / "package.py", "build", "--output", tmp_path / "dist"]
    build += ["--weights", str({"scdl_synapse": str(tmp_path / "model.pt")}), "--weights_url", f"{server}/weights"]
    subprocess.run(build, check=True)
    (dist / "weights").mkdir()
    shutil.copy(tmp_path / "dist" / f"scdl_synapse_v{__version__}_model.pt", dist / "weights")
    shutil.copy(tmp_path / "dist" / f"scdl_synapse_v{__version__}.zip", dist / "large.zip")
    words = (
        "--name",
        "scdl_synapse",
        "--version",
        __version__,
        "--url",
        f"{server}/large.zip",
        "--bundle_dir",
        tmp_path,
    )
    machine.monai("download", *words, cwd=tmp_path)
    place = ("download_large_files", "--bundle_path", tmp_path / "scdl_synapse")
    machine.monai(*place, cwd=tmp_path)
    assert (tmp_path / "scdl_synapse" / "models" / "model.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()
    (tmp_path / "scdl_synapse" / "models" / "model.pt").unlink()
    (dist / "weights" / f"scdl_synapse_v{__version__}_model.pt").write_bytes(b"something else")
    assert "hash check of downloaded file failed" in machine.monai(*place, cwd=tmp_path, check=False)


def test_zoo_unit_tests(machine, dist, tmp_path):
    """The pull request's files, in a folder laid out as the zoo, with its helper's few lines in our words."""
    shutil.copytree(ROOT / "scripts", tmp_path / "repository" / "scripts")
    shutil.copytree(ROOT / "scdl_components", tmp_path / "repository" / "scdl_components")
    shutil.copytree(dist, tmp_path / "repository" / "dist")
    words = [sys.executable, ROOT / "scripts" / "package.py", "zoo", "--root", tmp_path / "repository"]
    subprocess.run([*words, "--output", tmp_path / "zoo"], check=True)
    tests = tmp_path / "zoo" / "ci" / "unit_tests"
    (tests / "utils.py").write_text(
        "def check_workflow(workflow, check_properties=False):\n"
        "    workflow.initialize()\n"
        "    assert not (check_properties and workflow.check_properties()), workflow.check_properties()\n"
        "    workflow.run()\n"
        "    workflow.finalize()\n"
    )
    for name in BUNDLES:
        output = machine.run(tests / f"test_{name}.py", cwd=tmp_path / "zoo")
        assert "Ran 3 tests" in output and output.rstrip().endswith("OK")
