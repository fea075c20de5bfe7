# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Training that starts from weights."""

import torch
from support.runner import options, run_monai

TRAINING = ("run", "training", "--config_file", "configs/train.yaml", "--weights")


def test_starts_from_the_weights(trained, phantoms, tmp_path):
    # a learning rate of nothing keeps what was loaded
    scale = options(dataset_dir=phantoms, case_list="case_list.json", max_iterations=1, learning_rate=0.0)
    run_monai(
        *TRAINING,
        "models/model.pt",
        "--ckpt_dir",
        tmp_path,
        "--output_dir",
        tmp_path,
        "--seed",
        "5",
        *scale,
        cwd=trained,
    )
    before = torch.load(trained / "models" / "model.pt", weights_only=True)
    after = torch.load(tmp_path / "model_final.pt", weights_only=True)
    parameters = [name for name in before if name.endswith((".weight", ".bias"))]
    assert len(parameters) > 50 and all(torch.equal(before[name], after[name]) for name in parameters)
