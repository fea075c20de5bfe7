# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Another network in the bundle's training, by config alone."""

from __future__ import annotations

import pytest
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from support.runner import copy_bundle

# network as a user writes it, module of the last decoder features, its channels, patch size
NETWORKS = {
    "UNet": (
        {"spatial_dims": 3, "in_channels": 1, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1},
        "model.1",
        8,
        32,
    ),
    "SegResNet": (
        {"spatial_dims": 3, "init_filters": 8, "in_channels": 1, "blocks_down": [1, 1], "blocks_up": [1]},
        "up_layers.0",
        8,
        32,
    ),
    "DynUNet": (
        {
            "spatial_dims": 3,
            "in_channels": 1,
            "kernel_size": [3, 3, 3],
            "strides": [1, 2, 2],
            "upsample_kernel_size": [2, 2],
            "filters": [4, 8, 16],
        },
        "skip_layers",
        4,
        32,
    ),
    "SwinUNETR": (
        {"in_channels": 1, "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
        "decoder1",
        12,
        64,
    ),
    "VNet": ({"spatial_dims": 3, "in_channels": 1}, "up_tr32", 32, 32),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_scdl_trains_any_network(tmp_path, phantoms, name):
    """Two iterations: proxies and network both receive gradient, and both change."""
    arguments, feature_module, channels, size = NETWORKS[name]
    workflow = ConfigWorkflow(
        str(copy_bundle(tmp_path) / "configs" / "train.yaml"),
        logging_file=False,
        dataset_dir=str(phantoms),
        case_list="case_list.json",
        student={"_target_": name, "out_channels": "@num_classes", **arguments},
        feature_module=feature_module,
        roi_size=[size] * 3,
        pixdim=[8, 8, 8],
        max_iterations=2,
        labeled_batch_size=1,
        num_workers=0,
        val_interval=1000,
        **{"proxy_bank#in_channels": channels},
    )
    workflow.initialize()
    trainer = workflow.trainer
    scdl = trainer.loss_function.scdl
    proxies = [bank.proxies.detach().clone() for bank in scdl.banks]
    gradients = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def record(engine):
        for student, bank in zip(engine.network.students, scdl.banks):
            decoder = student.get_submodule(feature_module).parameters()
            gradients.append(sum(float(p.grad.abs().sum()) for p in decoder if p.grad is not None))
            gradients.append(float(bank.proxies.grad.abs().sum()))

    workflow.run()
    assert trainer.state.iteration == 2
    assert len(gradients) == 8 and all(g > 0 for g in gradients)
    assert all((before != bank.proxies).any() for before, bank in zip(proxies, scdl.banks))
