# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Priors by the overlay, as a user starts it: trained, resumed, evaluated and exported by MONAI's runner."""

from pathlib import Path

import pytest
import torch
from support.runner import copy_bundle, options, run_monai
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scdl_components.networks import DualStudent, PriorNetwork, VNet
from scdl_components.proxies import ProxyBank


def files(bundle: Path, *names: str) -> str:
    return str([str(bundle / "configs" / f"{name}.yaml") for name in names])


@pytest.fixture(scope="module")
def with_priors(tmp_path_factory, phantoms) -> Path:
    """A bundle trained with priors for four iterations, and from the second one's checkpoint once more."""
    bundle = copy_bundle(tmp_path_factory.mktemp("priors"))
    scale = options(dataset_dir=phantoms, case_list="case_list.json", max_iterations=4, val_interval=2, scdl=None)
    train = ["run", "training", "--config_file", files(bundle, "train", "priors"), *scale]
    run_monai(*train, cwd=bundle)
    resume = [
        "--resume",
        bundle / "models" / "checkpoint_2.pt",
        "--ckpt_dir",
        bundle / "again",
        "--output_dir",
        bundle / "logs",
    ]
    run_monai(*train, *resume, cwd=bundle)
    return bundle


def network() -> DualStudent:
    return DualStudent(PriorNetwork(VNet(1, 14, 2), ProxyBank(16, 14))).eval()


def test_the_weights_hold_each_bank_once_and_the_checkpoint_no_other(with_priors):
    checkpoint = torch.load(with_priors / "models" / "checkpoint_4.pt", weights_only=True)
    weights = torch.load(with_priors / "models" / "model_final.pt", weights_only=True)
    assert set(weights) == set(network().state_dict()) and not any("bank" in name for name in checkpoint["loss"])
    assert sum(name.endswith("bank.proxies") for name in checkpoint["model"]) == 2
    assert "scdl/p2e" in EventAccumulator(str(with_priors / "eval")).Reload().Tags()["scalars"]


def test_a_resumed_training_ends_alike(with_priors):
    once, again = (torch.load(with_priors / d / "model_final.pt", weights_only=True) for d in ("models", "again"))
    assert any(name.endswith("projection.weight") and value.any() for name, value in once.items())
    for name, value in once.items():
        assert torch.equal(value, again[name]), name


def test_what_it_trained_is_evaluated(with_priors, phantoms, tmp_path):
    scale = {"--pixdim": "[8,8,8]", "--roi_size": "[32,32,32]", "--num_filters": "2", "--dataset_dir": phantoms}
    words = [str(word) for pair in scale.items() for word in pair]
    run_monai(
        *("run", "--config_file", files(with_priors, "inference", "priors", "evaluate"), "--cases", "test", *words),
        *("--case_list", "case_list.json", "--output_dir", tmp_path / "out"),
        cwd=tmp_path,
    )
    assert (tmp_path / "out" / "report_clinical" / "metrics.csv").is_file()


def export(bundle: Path, weights: Path, filepath: Path, *words: str, check: bool = True) -> str:
    return run_monai(
        *("ckpt_export", "network_def", "--filepath", filepath, "--ckpt_file", weights, "--num_filters", "2"),
        *(
            "--meta_file",
            bundle / "configs" / "metadata.json",
            "--config_file",
            files(bundle, "inference", "priors"),
            *words,
        ),
        cwd=filepath.parent,
        check=check,
    )


def test_it_is_exported_by_tracing(with_priors, tmp_path):
    torch.manual_seed(0)
    drawn = network()
    for name, weight in drawn.named_parameters():
        if name.endswith("projection.weight"):
            torch.nn.init.normal_(weight)
    torch.save(drawn.state_dict(), tmp_path / "model.pt")
    traced = ["--use_trace", "True", "--input_shape", "[1,1,32,32,32]"]
    export(with_priors, tmp_path / "model.pt", tmp_path / "model.ts", *traced)
    exported, images = torch.jit.load(str(tmp_path / "model.ts")), torch.rand(3, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported(images), drawn(images))
    told = export(with_priors, tmp_path / "model.pt", tmp_path / "scripted.ts", check=False)
    assert told.rstrip().splitlines()[-1].startswith("InputError: a network with priors is exported by tracing")
    assert "Traceback" not in told and not (tmp_path / "scripted.ts").exists()
