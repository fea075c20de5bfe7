# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Another network in the bundle's training, by config alone."""

import pytest
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from support.runner import copy_bundle

# network as a user writes it, module of the last decoder features, its channels, patch size; for priors the module of the
# tokens, its channels, and where they are added
NETWORKS = {
    "UNet": (
        {"spatial_dims": 3, "in_channels": 1, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1},
        "model.1",
        8,
        32,
        ("model.1.submodule", 4, {"model.1": 8}),
    ),
    "SegResNet": (
        {"spatial_dims": 3, "init_filters": 8, "in_channels": 1, "blocks_down": [1, 1], "blocks_up": [1]},
        "up_layers.0",
        8,
        32,
        ("down_layers.1", 16, {"up_layers.0": 8}),
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
        ("bottleneck", 16, {"upsamples.0": 8, "upsamples.1": 4}),
    ),
    "SwinUNETR": (
        {"in_channels": 1, "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
        "decoder1",
        12,
        64,
        ("encoder10", 192, {"decoder1": 12}),
    ),
    "VNet": ({"spatial_dims": 3, "in_channels": 1}, "up_tr32", 32, 32, ("down_tr128", 128, {"up_tr32": 32})),
}


@pytest.mark.parametrize("priors", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_scdl_trains_any_network(tmp_path, phantoms, name, priors):
    """One iteration: proxies, network and, where there are any, projections of priors receive gradient and change."""
    arguments, feature_module, channels, size, with_priors = NETWORKS[name]
    places = {}
    if priors:
        feature_module, channels, at = with_priors
        places = {"prior_places": at}
    configs = copy_bundle(tmp_path) / "configs"
    workflow = ConfigWorkflow(
        [str(configs / f"{file}.yaml") for file in ("train", "priors")[: 1 + priors]],
        logging_file=False,
        dataset_dir=str(phantoms),
        case_list="case_list.json",
        scdl=True,
        student={"_target_": name, "out_channels": "@num_classes", **arguments},
        feature_module=feature_module,
        roi_size=[size] * 3,
        pixdim=[8, 8, 8],
        max_iterations=1,
        labeled_batch_size=1,
        unlabeled_batch_size=1,
        num_workers=0,
        val_interval=1000,
        voxels_per_token=size // 2 if priors else 4,  # priors come from the deepest features
        **places,
        **{"proxy_bank#in_channels": channels, "train#unlabeled_dataset#data": "$@train#unlabeled_stream.cases[:1]"},
    )
    workflow.initialize()
    trainer = workflow.trainer
    scdl = trainer.loss_function.scdl
    banks = scdl.banks
    (group,) = trainer.optimizer.param_groups
    assert {p for bank in banks for p in bank.parameters() if p.requires_grad} <= set(group["params"])
    assert len(set(group["params"])) == len(group["params"])
    before = [bank.proxies.detach().clone() for bank in banks]
    gradients = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def record(engine):
        for student, bank in zip(engine.network.students, banks):
            source = student.get_submodule(scdl.feature_module).parameters()
            gradients.append(sum(float(p.grad.abs().sum()) for p in source if p.grad is not None))
            gradients.append(float(bank.proxies.grad.abs().sum()))
            gradients.extend(float(student.get_submodule(place).projection.weight.grad.abs().sum()) for place in at)

    at = places.get("prior_places", {})
    workflow.run()
    assert trainer.state.iteration == 1
    assert len(gradients) == 2 * (2 + len(at)) and all(g > 0 for g in gradients)
    assert all((old != bank.proxies).any() for old, bank in zip(before, banks))
