# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is compared, and at what size: overlays and overrides of the bundle's train.yaml, and nothing else."""

# keys of train.yaml; "overlays" are configs of the bundle behind it
# of the encoder's third level, a quarter of the resolution: the fourth has four tokens a side of a patch of 32³
TOKENS = {"feature_module": "block_three", "voxels_per_token": 4, "proxy_bank#in_channels": "$4 * @num_filters"}
METHODS: dict[str, dict[str, object]] = {
    # as many labeled samples an iteration as the others have samples in all
    "supervised": {"overlays": ["supervised"]},
    "supervised_two": {"overlays": ["supervised"], "labeled_batch_size": 2},  # as many labeled samples as the others
    "supervised_dice_ce": {"overlays": ["supervised", "dice_ce"]},
    "cps": {"overlays": ["dice_ce"], "scdl": False},
    "cps_ga": {"scdl": False},
    "scdl_published": {"overlays": ["published"]},  # crops alone: compare with --augmentation "[]"
    "scdl": {"scdl": True},
    # hosts, with CDBA, with SAC as well (of CPS+GA that is scdl), and with priors
    "cps_cdba": {"overlays": ["dice_ce"], "scdl": True, "scdl_loss#sac_weight": 0.0},
    "cps_scdl": {"overlays": ["dice_ce"], "scdl": True},
    "cps_whole": {"overlays": ["priors", "dice_ce"], **TOKENS},
    "cps_ga_cdba": {"scdl": True, "scdl_loss#sac_weight": 0.0},
    "cps_ga_whole": {"overlays": ["priors"], **TOKENS},
    "dhc": {"overlays": ["dhc"], "scdl": False},
    "dhc_cdba": {"overlays": ["dhc"], "scdl": True, "scdl_loss#sac_weight": 0.0},
    "dhc_scdl": {"overlays": ["dhc"], "scdl": True},
    "dhc_whole": {"overlays": ["priors", "dhc"], **TOKENS},
    # its cubes of 32 voxels need patches of 64 or more: --roi_size "[64,64,64]", or the scale of a GPU
    "magicnet": {"overlays": ["magicnet"], "scdl": False},
    "magicnet_cdba": {"overlays": ["magicnet"], "scdl": True, "scdl_loss#sac_weight": 0.0},
    "magicnet_scdl": {"overlays": ["magicnet"], "scdl": True},
    "magicnet_whole": {"overlays": ["priors", "magicnet"], **TOKENS},
    # one part at a time off
    "scdl_no_sac": {"scdl": True, "scdl_loss#sac_weight": 0.0},
    "scdl_no_e2p": {"scdl": True, "scdl_loss#cdba#weights#e2p": 0.0},
    "scdl_no_p2e": {"scdl": True, "scdl_loss#cdba#weights#p2e": 0.0},
    "scdl_no_unlabeled_tokens": {"scdl": True, "scdl_loss#unlabeled_weight": 0.0},
    "scdl_one_student": {
        "scdl": True,
        "host": {"_target_": "scdl_components.hosts.Supervised", "supervised_losses": "@supervised_losses"},
        "network_def#initializers": [{"_target_": "scdl_components.networks.pytorch_init_", "_mode_": "callable"}],
    },
}
MAIN = ("supervised", "cps", "cps_ga", "scdl")

# what a size of the study sets in all methods alike; num_training, of the phantoms, is no key of a config
CPU: dict[str, object] = {
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
}
# room between two labels and all: patients and scanners differ more, and there are more of them
VARIED = {"dataset_dir#variation": 2.5, "num_training": 40, "dataset_dir#num_validation": 8, "dataset_dir#num_test": 20}
SCALES: dict[str, dict[str, object]] = {
    "cpu": CPU,
    "room": {**CPU, **VARIED, "max_iterations": 6000, "val_interval": 500},
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
# overlays that inference needs as well
OF_INFERENCE = ("priors", "magicnet")
