# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import math
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from support.runner import copy_bundle, options, run_monai
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAIN = "configs/train.yaml"


def test_weights_and_logs_land_in_the_bundle(trained):
    assert {p.name for p in trained.iterdir()} >= {"models", "eval"}
    assert sorted(p.name for p in trained.parent.iterdir()) == ["scdl_synapse"]
    models = {p.name for p in (trained / "models").iterdir()}
    assert models == {"model.pt", "model_final.pt", "checkpoint_3.pt", "checkpoint_6.pt"}
    state = torch.load(trained / "models" / "model.pt", weights_only=True)
    first, second = (state[f"students.{k}.block_five.conv.0.weight"] for k in range(2))
    assert not torch.equal(first, second)  # each is initialised on its own


@pytest.mark.trains
def test_tensorboard_shows_losses_ramp_learning_rate_and_dice_by_organ(trained):
    events = EventAccumulator(str(trained / "eval")).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"loss", "supervised/ga_ce", "supervised/ga_dice", "cps", "weight/cps", "learning_rate"} <= scalars
    assert {"val_mean_dice", "val_dice/liver"} <= scalars
    # of which there is none in the validation's phantom at 8 mm
    assert "val_invented/left adrenal gland" in scalars and "val_dice/left adrenal gland" not in scalars
    for name in ("e2p", "p2e", "sac", "unlabeled_p2e"):
        assert {f"scdl/{name}", f"weight/scdl/{name}"} <= scalars
    rates = {event.step: event.value for event in events.Scalars("learning_rate")}
    assert rates == pytest.approx({i: 0.01 * (1 - (i - 1) / 6) ** 0.9 for i in (2, 4, 6)}, rel=1e-5)
    ramp = {event.step: event.value for event in events.Scalars("weight/cps")}
    assert ramp == pytest.approx({i: 0.1 * math.exp(-5 * (1 - (i - 1) / 6) ** 2) for i in (2, 4, 6)}, rel=1e-5)
    assert [event.step for event in events.Scalars("val_mean_dice")] == [3, 6]


@pytest.mark.trains
def test_validation_labels_without_organs_choose_nothing(tmp_path, phantoms):
    data = shutil.copytree(phantoms, tmp_path / "data")
    label = nib.load(data / "label" / "label0007.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), data / "label" / "label0007.nii.gz")
    bundle = copy_bundle(tmp_path)
    output = run_monai(
        *("run", "training", "--config_file", bundle / TRAIN),
        *options(dataset_dir=data, case_list="case_list.json", max_iterations=4, val_interval=3),
        cwd=tmp_path,
    )
    assert "val_mean_dice is nan" in output
    best, last = (torch.load(bundle / "models" / f"{name}.pt", weights_only=True) for name in ("model", "model_final"))
    assert all(torch.equal(best[name], last[name]) for name in last)  # an iteration after the validation
    scalars = EventAccumulator(str(bundle / "eval")).Reload().Tags()["scalars"]
    assert "val_invented/liver" in scalars and not [name for name in scalars if name.startswith("val_dice/")]


def test_runs_from_inside_with_run_and_other_folders(tmp_path, phantoms):
    bundle = copy_bundle(tmp_path)
    models, logs = tmp_path / "other models", tmp_path / "other logs"
    run_monai(
        *("run", "--config_file", TRAIN, "--ckpt_dir", models, "--output_dir", logs),
        *options(dataset_dir=phantoms, case_list=phantoms / "case_list.json", max_iterations=1),
        cwd=bundle,
    )
    assert (models / "model_final.pt").is_file() and any(logs.iterdir())
    assert not (bundle / "models").exists()


@pytest.mark.parametrize("workflow_type, config", [("train", TRAIN), ("infer", "configs/inference.yaml")])
def test_every_property_of_the_workflows_is_there(tmp_path, phantoms, workflow_type, config):
    bundle = copy_bundle(tmp_path)
    overrides = {"dataset_dir": str(phantoms / "img" if workflow_type == "infer" else phantoms)}
    if workflow_type == "train":
        overrides |= {"case_list": "case_list.json", "pixdim": [8, 8, 8]}
    workflow = ConfigWorkflow(
        str(bundle / config), workflow_type=workflow_type, logging_file=False, num_filters=2, **overrides
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    assert workflow.bundle_root == str(bundle)


def test_no_data_says_what_is_looked_for_and_how_to_run_the_phantom(tmp_path):
    bundle = copy_bundle(tmp_path)
    output = run_monai("run", "training", "--config_file", bundle / TRAIN, cwd=tmp_path, check=False)
    message = output[output.rindex("MissingFileError") :]
    data = str(bundle / "data")
    for text in (f"{data}/img/img0", f"{data}/RawData/Training/", f"{data}/imagesTr/", "synapse.org", "phantom.yaml"):
        assert text in message
    # the message stands alone at the end, not in a traceback
    assert "Traceback" not in output


def test_a_checkpoint_is_gone_on_from_with_what_may_change_alone(trained, tmp_path, phantoms):
    data = shutil.copytree(phantoms, tmp_path / "data")
    command = [
        *("run", "training", "--config_file", trained / TRAIN, "--ckpt_dir", tmp_path / "on", "--output_dir"),
        *(tmp_path / "on", *options(dataset_dir=data, case_list="case_list.json", max_iterations=8, num_workers=1)),
        *("--resume", trained / "models" / "checkpoint_6.pt"),
    ]
    path = data / "label" / "label0002.nii.gz"
    original, label = path.read_bytes(), nib.load(path)
    voxels = np.array(label.dataobj)
    voxels[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(voxels, label.affine), path)
    output = run_monai(*command, cwd=tmp_path, check=False)
    refusal = output[output.rindex("InputError") :]
    assert "- max_iterations: 6 -> 8\n- cases#labeled: " in refusal and "Traceback" not in output
    before, now = re.search(r"gone: (.*); new: (.*)", refusal).groups()
    assert "label0002.nii.gz" in before and "label0002.nii.gz" in now and "label0001" not in refusal
    assert not (tmp_path / "on").exists()
    # as the refusal says; where the same cases lie does not matter
    path.write_bytes(original)
    output = run_monai(*command, "--allow_changed", "['max_iterations']", cwd=tmp_path)
    assert "training:  75%" in output
    assert (tmp_path / "on" / "checkpoint_8.pt").is_file()
    rates = {e.step: e.value for e in EventAccumulator(str(tmp_path / "on")).Reload().Scalars("learning_rate")}
    assert rates == pytest.approx({8: 0.01 * (1 - 7 / 8) ** 0.9}, rel=1e-5)


def test_bad_input_is_listed_whole_before_training(tmp_path, phantoms):
    """Bad files of three lists, and a test case that is trained on by another name; no training, nothing written."""
    data = shutil.copytree(phantoms, tmp_path / "data")
    truncated = data / "img" / "img0003.nii.gz"  # unlabeled
    truncated.write_bytes(truncated.read_bytes()[:1000])
    for name, value in (("label0001", 99), ("label0007", 14)):  # labeled, validation
        label = nib.load(data / "label" / f"{name}.nii.gz")
        voxels = np.asarray(label.dataobj).copy()
        voxels[0, 0, 0] = value
        nib.save(nib.Nifti1Image(voxels, label.affine), data / "label" / f"{name}.nii.gz")
    for kind in ("img", "label"):
        shutil.copy(data / kind / f"{kind}0002.nii.gz", data / kind / f"{kind}0008.nii.gz")
    bundle = copy_bundle(tmp_path)
    output = run_monai(
        *("run", "training", "--config_file", bundle / TRAIN),
        *options(dataset_dir=data, case_list="case_list.json"),
        cwd=tmp_path,
        check=False,
    )
    report = output[output.rindex("InputError") :]
    assert "4 error(s)" in report and "Traceback" not in output
    for text in ("img0003.nii.gz", "label0001.nii.gz", "99", "label0007.nii.gz", "14", "img0008.nii.gz: in 'test'"):
        assert text in report
    assert not (bundle / "models").exists()


@pytest.mark.trains
def test_half_precision_where_asked_for(tmp_path, phantoms):
    overrides = {"dataset_dir": str(phantoms), "case_list": str(phantoms / "case_list.json"), "device": "cpu"}
    overrides |= {
        "amp": True,
        "train#amp_kwargs#dtype": "$torch.bfloat16",
        "pixdim": [10, 10, 10],
        "roi_size": [16, 16, 16],
    }
    overrides |= {"num_filters": 4, "embed_dim": 8, "num_workers": 0, "max_iterations": 2, "val_interval": 2}
    folder = copy_bundle(tmp_path)
    workflow = ConfigWorkflow(str(folder / TRAIN), logging_file=False, **overrides)
    workflow.initialize()
    seen = []
    network = workflow.trainer.network
    network.students[0].out_conv.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    workflow.run()
    workflow.finalize()
    # of the two iterations; the validations after them run in float32, MONAI's evaluator knows half precision on CUDA alone
    assert seen[:2] == [torch.bfloat16] * 2
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_channels_first_and_compile_are_keys_for_the_command_line(tmp_path, phantoms):
    """Two iterations of a small network, as compiling a V-Net takes minutes on a CPU."""
    student = {
        "_target_": "SegResNet",
        "spatial_dims": 3,
        "init_filters": 8,
        "in_channels": 1,
        "out_channels": "@num_classes",
    }
    folder = copy_bundle(tmp_path)
    output = run_monai(
        *("run", "training", "--config_file", folder / TRAIN),
        *options(dataset_dir=phantoms, case_list="case_list.json", max_iterations=2, val_interval=2, num_workers=0),
        *options(student=student | {"blocks_down": [1], "blocks_up": []}, feature_module="convInit"),
        *options(pixdim=[10, 10, 10], roi_size=[16, 16, 16], embed_dim=8, voxels_per_token=4),
        *options(**{"proxy_bank#in_channels": 8, "train#trainer#compile": True, "device": "cpu"}),
        *options(**{"train#memory_format": "$torch.contiguous_format"}),
        cwd=tmp_path,
    )
    assert "Key metric: val_mean_dice" in output
    assert (folder / "models" / "model.pt").is_file()
