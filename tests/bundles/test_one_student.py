# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""One student of two at inference, evaluation and export, by the key ``students`` of inference.yaml alone."""

import json

import nibabel as nib
import pytest
import torch
from support.runner import REAL_CT, SCALE, TINY, options, run_monai

from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.dual_student import CONVOLUTIONS

CT = REAL_CT / "ct.nii.gz"
ONE_INITIALIZER = ["--network_def#initializers", "['$torch.nn.init.kaiming_normal_']"]


def segment(bundle, output, *args, check=True) -> str:
    return run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--dataset_dir", CT),
        *("--output_dir", output, *SCALE, *args),
        cwd=output.parent,
        check=check,
    )


def voxels(output):
    return nib.load(output / "ct_seg.nii.gz").get_fdata()


def weights(bundle) -> dict[str, torch.Tensor]:
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    return state.get("model", state)


@pytest.mark.trains
def test_one_student_segments_and_done_cases_are_made_anew(segmenting, tmp_path):
    segment(segmenting, tmp_path / "out")
    both = voxels(tmp_path / "out")
    assert "1 segmented, 0 done before" in segment(segmenting, tmp_path / "out", "--students", "[1]")
    assert (voxels(tmp_path / "out") != both).mean() > 0.05
    assert json.loads((tmp_path / "out" / "ct_seg.json").read_text())["made_with"]["settings"]["students"] == [1]


def export(bundle, filepath, *args, cwd) -> str:
    return run_monai(
        *("ckpt_export", "network_def", "--filepath", filepath, "--ckpt_file", bundle / "models" / "model.pt"),
        *("--meta_file", bundle / "configs" / "metadata.json"),
        *("--config_file", bundle / "configs" / "inference.yaml", "--key_in_ckpt", "model"),
        *("--num_filters", TINY["--num_filters"], *args),
        cwd=cwd,
    )


TRACED = pytest.param(["--use_trace", "True", "--input_shape", "[1,1,32,32,32]"], marks=pytest.mark.slow)


@pytest.mark.parametrize("trace", [[], TRACED])
def test_exported_students_are_those_chosen(trained, tmp_path, trace):
    export(trained, tmp_path / "model.ts", "--students", "[1]", *trace, cwd=tmp_path)
    exported = torch.jit.load(str(tmp_path / "model.ts")).eval()
    network = DualStudent(VNet(1, 14, num_filters=2))
    network.load_state_dict(weights(trained))
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network.eval().students[1](x))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            exported(x)
    # half the cost: the convolutions of one student are run, and no other
    run = sum(event.count for event in profile.key_averages() if event.key == "aten::_convolution")
    assert run == sum(isinstance(module, CONVOLUTIONS) for module in network.students[1].modules())


@pytest.mark.slow
def test_a_student_trained_alone_is_evaluated(phantoms, trained, tmp_path):
    """Training with one initialiser, as the study does it, then inference and evaluation with the same."""
    common = options(dataset_dir=phantoms, case_list="case_list.json", max_iterations=2)
    run_monai(
        *("run", "training", "--config_file", trained / "configs" / "train.yaml", *common, *ONE_INITIALIZER),
        *("--host", "{'_target_':'scdl_components.hosts.Supervised','supervised_losses':'@supervised_losses'}"),
        *("--ckpt_dir", tmp_path, "--output_dir", tmp_path / "logs"),
        cwd=tmp_path,
    )
    trained_alone = ["--weights", tmp_path / "model.pt"]
    configs = "','".join(str(trained / "configs" / name) for name in ("inference.yaml", "evaluate.yaml"))
    run_monai(
        *("run", "--config_file", f"['{configs}']", "--cases", "test", *SCALE, *trained_alone, *ONE_INITIALIZER),
        *("--dataset_dir", phantoms, "--case_list", "case_list.json", "--students", "[0]"),
        *("--output_dir", tmp_path / "out"),
        cwd=tmp_path,
    )
    assert (tmp_path / "out" / "report_clinical" / "report.html").is_file()
    output = segment(trained, tmp_path / "two", *trained_alone, check=False)
    assert "students.1.block_one.conv.0.weight is missing" in output.rstrip().splitlines()[-1]
