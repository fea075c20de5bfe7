# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from support.runner import copy_bundle, options, run_monai

from scdl_components.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """2 labelled, 4 unlabelled, 1 validation and 1 test phantom of 8 mm."""
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
