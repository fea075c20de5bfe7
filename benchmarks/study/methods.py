# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is compared, and at what size: overlays and overrides of the bundle's train.yaml, and nothing else."""

from __future__ import annotations

# keys of train.yaml; "overlay" is a config of the bundle behind it
METHODS: dict[str, dict[str, object]] = {
    # as many labeled samples an iteration as the others have samples in all
    "supervised": {"overlay": "supervised"},
    "cps": {"overlay": "dice_ce", "scdl": False},
    "cps_ga": {"scdl": False},
    "scdl_published": {"overlay": "published"},
    "scdl": {},
    # SCDL where nothing else balances the classes
    "cps_scdl": {"overlay": "dice_ce"},
    # one part at a time off
    "scdl_no_sac": {"scdl_loss#sac_weight": 0.0},
    "scdl_no_e2p": {"scdl_loss#cdba#weights#e2p": 0.0},
    "scdl_no_p2e": {"scdl_loss#cdba#weights#p2e": 0.0},
    "scdl_no_unlabeled_tokens": {"scdl_loss#unlabeled_weight": 0.0},
    "scdl_one_student": {
        "host": {"_target_": "scdl_components.hosts.Supervised", "supervised_losses": "@supervised_losses"},
        "network_def#initializers": [{"_target_": "scdl_components.networks.pytorch_init_", "_mode_": "callable"}],
    },
}
MAIN = ("supervised", "cps", "cps_ga", "scdl_published", "scdl")

# what a size of the study sets in all methods alike
SCALES: dict[str, dict[str, object]] = {
    "cpu": {
        "dataset_dir#spacing": [4.0, 4.0, 5.0],
        "dataset_dir#num_validation": 4,
        "dataset_dir#num_test": 8,
        "pixdim": [4.0, 4.0, 5.0],
        "roi_size": [32, 32, 32],
        "num_filters": 8,
        "voxels_per_token": 2,
        "embed_dim": 32,
        "max_iterations": 1500,
        "val_interval": 250,
    },
    "gpu": {
        "dataset_dir#spacing": [1.5, 1.5, 2.0],
        "dataset_dir#num_validation": 4,
        "dataset_dir#num_test": 8,
        "pixdim": [1.5, 1.5, 2.0],
        "roi_size": [96, 96, 96],
        "num_filters": 16,
        "voxels_per_token": 4,
        "embed_dim": 64,
        "max_iterations": 6000,
        "val_interval": 500,
        "num_workers": 2,
    },
}
# these make the data or belong to training; inference has no use for them
NOT_OF_INFERENCE = ("max_iterations", "val_interval", "voxels_per_token", "embed_dim", "num_workers")
