# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import pytest
import torch
from support.runner import copy_bundle, options, run_monai

from scdl_components.networks import DualStudent, VNet
from scdl_components.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """2 labeled, 4 unlabeled, 1 validation and 1 test phantom of 8 mm."""
    folder = tmp_path_factory.mktemp("phantoms") / "phantom"
    return Path(write_phantoms(folder, 2, 4, 1, 1, seed=7, spacing=(8.0, 8.0, 8.0)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, phantoms) -> Path:
    """A bundle trained for six iterations by the user's command, started from elsewhere."""
    folder = tmp_path_factory.mktemp("trained")
    bundle = copy_bundle(folder)
    run_monai(
        *("run", "training", "--config_file", "scdl_synapse/configs/train.yaml"),
        *options(dataset_dir=phantoms, case_list="case_list.json"),
        cwd=folder,
    )
    return bundle


@pytest.fixture(scope="session")
def segmenting(tmp_path_factory, trained) -> Path:
    """The trained bundle with drawn weights, which tell classes apart; whether six iterations do depends on the processor."""
    bundle = Path(shutil.copytree(trained, tmp_path_factory.mktemp("segmenting") / trained.name))
    torch.manual_seed(0)
    network = DualStudent(VNet(1, 14, num_filters=2), [torch.nn.init.kaiming_normal_] * 2)
    for student in network.students:  # background where both features are 0, else by which one is larger
        torch.nn.init.zeros_(student.out_conv.bias)
        torch.nn.init.zeros_(student.out_conv.weight).data[[1, 6], [0, 1]] = 1.0
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle
