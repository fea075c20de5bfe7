# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle outside this package: TorchScript alone, MONAI Deploy, ONNX, and MONAI's functions (docs/deploy.md)."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import create_workflow, load
from monai.bundle.utils import load_bundle_config
from pydicom.sr.codedict import codes
from support.dicom import STUDY, write_series
from support.runner import BUNDLES, TINY, run_monai

from scdl_components.networks import DualStudent, PriorNetwork, VNet
from scdl_components.networks.weights import WeightsError
from scdl_components.proxies import ProxyBank

ROOT = Path(__file__).parents[2]
DEPLOY_VENV = Path(os.environ.get("DEPLOY_VENV", ROOT / ".venv-deploy"))
SCALE = {key: yaml.safe_load(TINY[f"--{key}"]) for key in ("pixdim", "roi_size")}
WITHOUT_OURS = "import sys; sys.modules['scdl_components'] = None\n"  # whoever imports it now gets an ImportError


def rewrite(config: Path, **keys: object) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | keys, sort_keys=False))


@pytest.fixture(scope="module")
def exported(segmenting, tmp_path_factory) -> Path:
    """A bundle with models/model.ts, by the command of docs/deploy.md, and with the tiny scale in its configs."""
    bundle = Path(shutil.copytree(segmenting, tmp_path_factory.mktemp("exported") / segmenting.name))
    rewrite(bundle / "configs" / "deploy.yaml", **SCALE)
    rewrite(bundle / "configs" / "inference.yaml", **SCALE, num_filters=2)
    run_monai(
        *("ckpt_export", "network_def", "--filepath", "models/model.ts", "--ckpt_file", "models/model.pt"),
        *("--meta_file", "configs/metadata.json", "--config_file", "['configs/inference.yaml','configs/deploy.yaml']"),
        cwd=bundle,
    )
    return bundle


def segment(bundle: Path, image: Path, output: Path) -> nib.Nifti1Image:
    """The runner's labels."""
    words = ("--dataset_dir", image, "--output_dir", output)
    run_monai("run", "--config_file", bundle / "configs" / "inference.yaml", *words, cwd=output.parent)
    return nib.load(next(output.glob("*_seg.nii.gz")))


def test_torchscript_alone_gives_the_runners_labels(exported, phantoms, tmp_path):
    """In a process that cannot import scdl_components, by the lines of docs/deploy.md."""
    image = next((phantoms / "img").glob("*.nii.gz"))
    (tmp_path / "models").mkdir()
    shutil.copy(exported / "models" / "model.ts", tmp_path / "models")
    shutil.copy(image, tmp_path / "ct.nii.gz")
    lines = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), flags=re.DOTALL).group(1)
    command = [sys.executable, "-c", WITHOUT_OURS + lines]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    alone, ours = nib.load(tmp_path / "ct_seg.nii.gz"), segment(exported, image, tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(alone.dataobj), np.asarray(ours.dataobj))
    np.testing.assert_allclose(alone.affine, ours.affine)
    assert len(np.unique(np.asarray(ours.dataobj))) > 1


def test_deploy_yaml_says_what_inference_yaml_says():
    deploy, inference = (
        yaml.safe_load((BUNDLES / "scdl_synapse" / "configs" / f"{name}.yaml").read_text())
        for name in ("deploy", "inference")
    )
    parts = {"preprocessing", "inferer", "postprocessing"}
    assert parts < set(deploy)
    assert {key: deploy[key] for key in set(deploy) - parts} == {key: inference[key] for key in set(deploy) - parts}


@pytest.mark.parametrize("bundle", ["scdl_synapse", "scdl_amos"])
def test_every_organ_has_a_code_of_dicoms_list(bundle):
    metadata = json.loads((BUNDLES / bundle / "configs" / "metadata.json").read_text())
    organs = list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())[1:]
    assert list(metadata["dataset"]["snomed_ct"]) == organs
    listed = {(code.value, code.meaning) for code in codes.cid7151.concepts.values()}
    assert {tuple(code) for code in metadata["dataset"]["snomed_ct"].values()} <= listed


def run_app(source: Path, model: Path, output: Path, check: bool = True) -> str:
    """Output of examples/deploy_app.py in MONAI Deploy's environment."""
    words = [DEPLOY_VENV / "bin" / "python", ROOT / "examples" / "deploy_app.py"]
    words += ["--input", source, "--model", model, "--output", output]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    result = subprocess.run(
        ["bash", "-c", 'ulimit -s 32768; "$@"', "-", *map(str, words)],
        cwd=source.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert (result.returncode == 0) == check, result.stdout
    return result.stdout


READ = """
import sys, highdicom, numpy
seg = highdicom.seg.segread(sys.argv[1])
volume = seg.get_volume(combine_segments=True)
sides = [s.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence") for s in seg.SegmentSequence]
numpy.savez(sys.argv[2], labels=volume.array, affine=volume.affine, names=[s.SegmentLabel for s in seg.SegmentSequence],
    sides=[side[0].CodeMeaning if side else "" for side in sides], types=[s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
    for s in seg.SegmentSequence])
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (DEPLOY_VENV / "bin" / "python").exists(), reason="no MONAI Deploy: docs/deploy.md, DEPLOY_VENV"
)
def test_dicom_in_and_dicom_seg_out_by_monai_deploy(exported, phantoms, tmp_path):
    """By the file, and by the folder with the package inside; positions and labels are the runner's."""
    image = nib.load(next((phantoms / "img").glob("*.nii.gz")))
    voxels = np.asarray(image.dataobj).round().astype(int)
    write_series(tmp_path / "ct", voxels, image.affine, "1.2.5", **STUDY)
    ours = segment(exported, tmp_path / "ct", tmp_path / "runner")
    labels = np.asarray(ours.dataobj)
    folder = Path(shutil.copytree(exported, tmp_path / "folder"))
    (folder / "models" / "model.ts").unlink()
    shutil.copytree(ROOT / "scdl_components", folder / "scdl_components")
    for model in (exported / "models" / "model.ts", folder):
        run_app(tmp_path / "ct", model, tmp_path / model.name)
        (written,) = (tmp_path / model.name).glob("*.dcm")
        subprocess.run([DEPLOY_VENV / "bin" / "python", "-c", READ, written, tmp_path / "read.npz"], check=True)
        read = np.load(tmp_path / "read.npz")
        assert read["names"][10] == "pancreas" == read["types"][10].lower() and read["sides"][10] == ""
        assert read["names"][1] == "right kidney" and (read["types"][1], read["sides"][1]) == ("Kidney", "Right")
        to_ours = np.linalg.inv(ours.affine) @ np.diag([-1, -1, 1, 1]) @ read["affine"]
        places = nib.affines.apply_affine(to_ours, np.argwhere(read["labels"] >= 0))
        np.testing.assert_allclose(places, places.round(), atol=1e-3)
        found = labels[tuple(places.round().astype(int).T)]
        np.testing.assert_array_equal(read["labels"].ravel(), found)
        assert (read["labels"] > 0).sum() == (labels > 0).sum() > 0
    for name, uids, tags in (("mr", ["1.2.6"], {"Modality": "MR"}), ("two", ["1.2.7", "1.2.8"], {})):
        for uid in uids:
            write_series(tmp_path / name, voxels, image.affine, uid, prefix=uid, **STUDY, **tags)
        told = run_app(tmp_path / name, exported / "models" / "model.ts", tmp_path / "none", check=False)
        number, kind = (0, "MR") if name == "mr" else (2, "CT")
        there = ", ".join(f"{uid} ({kind})" for uid in uids)
        assert f"the input has {number} CT series, and one is expected; it holds {there}" in told
    (folder / "models" / "model.pt").unlink()
    assert "no model at" in run_app(tmp_path / "ct", folder, tmp_path / "none", check=False)
    assert not list((tmp_path / "none").glob("*"))


def test_monais_functions_load_network_weights_and_configs(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = exported / "configs"
    workflow = create_workflow(config_file=str(configs / "inference.yaml"), workflow_type="inference")
    weights = load(exported.name, bundle_dir=exported.parent, source="github")
    workflow.network_def.load_state_dict(weights)
    with pytest.raises(WeightsError, match="holds weights of another network"):
        DualStudent(VNet(1, 14, num_filters=4)).load_state_dict(weights)
    (tmp_path / "args.json").write_text(
        json.dumps({"config_file": str(configs / "train.yaml"), "workflow_type": "train"})
    )
    assert create_workflow(args_file=str(tmp_path / "args.json"), num_filters=2).bundle_root == str(exported)
    config = load_bundle_config(str(exported), "inference.yaml")
    config["bundle_root"] = str(exported)
    network = config.get_parsed_content("network_def")
    network.load_state_dict(weights)
    file = load_bundle_config(str(exported / "models" / "model.ts"), "deploy.json")
    assert file["roi_size"] == SCALE["roi_size"] and file["_meta_"]["version"] == config["_meta_"]["version"]
    script, metadata, _ = load(exported.name, bundle_dir=exported.parent, source="github", load_ts_module=True)
    images = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(script(images), network.eval()(images))
    assert metadata["name"] == config["_meta_"]["name"]


@pytest.mark.slow
@pytest.mark.parametrize("priors", [False, True])
def test_onnx_takes_any_number_of_windows(exported, tmp_path, priors):
    runtime = pytest.importorskip("onnxruntime", reason="no ONNX: pip install '.[onnx]'")
    pytest.importorskip("onnxscript", reason="no ONNX: pip install '.[onnx]'")
    torch.manual_seed(0)
    student = VNet(1, 14, num_filters=2)
    network = DualStudent(PriorNetwork(student, ProxyBank(16, 14)) if priors else student).eval()
    for name, weight in network.named_parameters():
        if name.endswith("projection.weight"):  # priors add nothing before the first step
            torch.nn.init.normal_(weight)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    files = ["configs/inference.yaml", "configs/priors.yaml"][: 1 + priors]
    places = ("--ckpt_file", tmp_path / "model.pt", "--filepath", tmp_path / "model.onnx")
    words = ("--args_file", "configs/onnx_args.json", "--config_file", files, "--input_shape", "[2,1,32,32,32]")
    run_monai("onnx_export", *words, *places, cwd=exported)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for number in (1, 3):
        images = torch.rand(number, 1, 32, 32, 32)
        (found,) = session.run(["pred"], {"image": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(images), atol=1e-5, rtol=1e-4)
