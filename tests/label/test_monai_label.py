# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle in MONAI Label: a real server, driven over HTTP from an unlabeled folder to a retrained model.

MONAI Label lives in an environment of its own, which is built here where it is missing (minutes).
"""

import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from support.dicom import write_series
from support.label_server import LabelServer, copy_app, install_bundle, label_python
from support.runner import REAL_CT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scdl_components.phantom import SYNAPSE_ORGANS, write_phantoms

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def python() -> Path:
    return label_python()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Five phantoms of 8 mm, all with labels."""
    return Path(write_phantoms(tmp_path_factory.mktemp("phantoms"), 5, 0, 0, 0, seed=7, spacing=(8.0, 8.0, 8.0)))


@pytest.fixture(params=["pinned", "1.5.2"])
def python_path(request, python, tmp_path) -> str:
    """Nothing, for the MONAI of the environment, or a folder with another one."""
    if request.param == "pinned":
        return ""
    target = tmp_path / "monai"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, f"monai=={request.param}"]
    subprocess.run(install, check=True, timeout=600)
    show = [python, "-c", "import monai; print(monai.__version__)"]
    assert subprocess.check_output(show, env={"PYTHONPATH": str(target)}, text=True).strip() == request.param
    return str(target)


def make_studies(folder: Path, phantoms: Path, numbers: list[int]) -> Path:
    folder.mkdir()
    for number in numbers:
        shutil.copy(phantoms / "img" / f"img{number:04d}.nii.gz", folder)
    return folder


def label(phantoms: Path, number: int) -> Path:
    return phantoms / "label" / f"label{number:04d}.nii.gz"


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def slicer_params(config: dict) -> dict:
    """What 3D Slicer's plugin sends of a trainer's options: all of them, of each list the first."""
    return {key: value[0] if isinstance(value, list) else value for key, value in config.items()}


def test_from_unlabeled_studies_to_a_retrained_model(python, python_path, phantoms, tmp_path):
    """One server, and what Slicer's buttons send."""
    app = copy_app(python, tmp_path)
    bundle = install_bundle(app, val_interval=500)
    subprocess.run([python, "-m", "scdl_components", "untrained"], cwd=bundle, check=True, timeout=300)
    model = bundle / "models" / "model.pt"
    untrained = model.read_bytes()
    studies = make_studies(tmp_path / "studies", phantoms, [1, 2, 3, 4, 5])
    shutil.copy(REAL_CT / "ct.nii.gz", studies)

    with LabelServer(python, app, studies, python_path) as server:
        info = server.json("GET", "/info/")
        assert info["labels"] == list(SYNAPSE_ORGANS)
        assert info["models"]["scdl_synapse"]["labels"] == {name: i for i, name in enumerate(SYNAPSE_ORGANS, 1)}
        assert info["trainers"]["scdl_synapse"]["config"]["learning_rate"] == 0.01
        assert info["models"]["scdl_synapse"]["config"]["overlap"] == 0.5
        assert server.ask("ct") == (422, b'{"detail":"the file holds no weights yet: train first"}')

        # what is no CT volume, before it is looked for weights
        for name, uid, tags in (("mr", "1.2.5", {"Modality": "MR"}), ("two", "1.2.6", {}), ("two", "1.2.7", {})):
            write_series(tmp_path / name, np.zeros((4, 4, 2)), np.eye(4), uid, prefix=uid, **tags)
        (tmp_path / "damaged.nii.gz").write_bytes((REAL_CT / "ct.nii.gz").read_bytes()[:-1000])
        for name, told in (
            ("mr", "is a DICOM series of modality MR, and CT is expected"),
            ("two", "holds 2 DICOM series: 1.2.6 (CT, 2 files), 1.2.7 (CT, 2 files); give each its own folder"),
            ("damaged.nii.gz", "cannot be read"),
        ):
            status, answer = server.ask(str(tmp_path / name))
            assert status == 422 and f"'{tmp_path / name}' {told}" in json.loads(answer)["detail"]

        for number in (1, 2, 3, 4):
            assert server.save_label(f"img{number:04d}", label(phantoms, number))["label"] == f"img{number:04d}"
        assert len(list((studies / "labels" / "final").iterdir())) == 4
        button = {**slicer_params(info["trainers"]["scdl_synapse"]["config"]), "max_epochs": 2}
        assert button["model_filename"] == "model.pt" and button["pretrained"]
        task = server.train(**button)
        assert task["status"] == "DONE", task["details"]
        assert model.read_bytes() != untrained
        assert server.log.count("checking input: 100%") == 1  # not once more for Slicer's empty run_id
        assert "scdl/unlabeled_p2e" in EventAccumulator(str(bundle / "eval")).Reload().Tags()["scalars"]
        # three labeled cases, one for validation, two unlabeled: an iteration an epoch
        assert (bundle / "models" / "checkpoint_2.pt").is_file()

        before = voxels(server.infer("ct", tmp_path / "before.nii.gz"))
        image, result = nib.load(REAL_CT / "ct.nii.gz"), nib.load(tmp_path / "before.nii.gz")
        assert result.shape == image.shape
        np.testing.assert_allclose(result.affine, image.affine, atol=1e-3)
        assert set(np.unique(before)) <= set(range(14))
        np.testing.assert_array_equal(voxels(server.infer("ct", tmp_path / "again.nii.gz")), before)

        write_series(tmp_path / "series", np.asarray(image.dataobj), image.affine, "1.2.8")
        series = voxels(server.infer(str(tmp_path / "series"), tmp_path / "series.nii.gz"))
        assert (series == before).mean() > 0.999  # the slices' positions are written with eight digits

        # the button again: training goes on from these weights, and the best of it become the model
        old = model.read_bytes()
        task = server.train(**{**button, "max_epochs": 10})
        assert task["status"] == "DONE", task["details"]
        assert model.read_bytes() != old
        assert (voxels(server.infer("ct", tmp_path / "after.nii.gz")) != before).any()

        # weights of another network
        state = torch.load(model, weights_only=True)
        torch.save(
            {name: value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value for name, value in state.items()},
            model,
        )
        status, answer = server.ask("ct")
        assert status == 422 and answer.startswith(b'{"detail":"the file holds weights of another network: students.0.')
        task = server.train(**button)
        assert task["status"] == "ERROR" and "Traceback" not in "\n".join(task["details"])
        assert "weights of another network" in "\n".join(task["details"])


def test_few_and_wrong_labels(python, phantoms, tmp_path):
    app = copy_app(python, tmp_path)
    models = install_bundle(app) / "models"
    studies = make_studies(tmp_path / "studies", phantoms, [1, 2])
    with LabelServer(python, app, studies) as server:
        task = server.train()
        assert task["status"] == "ERROR"
        assert "training needs labeled samples: got 0" in "\n".join(task["details"])

        # one study with a label, one without
        server.save_label("img0001", label(phantoms, 1))
        task = server.train()
        assert task["status"] == "DONE", task["details"]
        assert (models / "checkpoint_1.pt").is_file() and "training on the" not in server.log

        # a label with another organ table
        other = nib.load(label(phantoms, 2))
        table = np.where(np.asarray(other.dataobj) == 6, 52, np.asarray(other.dataobj)).astype(np.uint8)
        nib.save(nib.Nifti1Image(table, other.affine), tmp_path / "other.nii.gz")
        server.save_label("img0002", tmp_path / "other.nii.gz")
        model = (models / "model.pt").read_bytes()
        task = server.train()
        details = "\n".join(task["details"])
        assert task["status"] == "ERROR" and "Traceback" not in details
        assert f"{studies}/labels/final/img0002.nii.gz: has values 52 outside the organ table" in details
        assert (models / "model.pt").read_bytes() == model

        # all studies with a label
        server.save_label("img0002", label(phantoms, 2))
        task = server.train()
        assert task["status"] == "DONE", task["details"]
        assert f"no image without a label in {studies}: training on the 2 labeled alone" in server.log
