# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is compared: each method is a set of overrides of the bundle's train.yaml, and nothing else."""

from __future__ import annotations

SUPERVISED, CPS, SCDL = "@supervised_term", "@cps_term", "@scdl_term"
PUBLISHED = {"_target_": "scdl_components.proxies.PublishedAssignment", "tau_e2p": 0.2, "tau_p2e": 0.2}

METHODS: dict[str, dict[str, object]] = {
    # as many labelled samples an iteration as the others have samples in all
    "supervised": {"loss_terms": [SUPERVISED], "labeled_batch_size": 4, "unlabeled_batch_size": 0},
    "cps": {
        "loss_terms": [SUPERVISED, CPS],
        "supervised_losses": "@dice_ce_losses",
        "cps_loss": "@dice_ce",
    },
    "cps_ga": {"loss_terms": [SUPERVISED, CPS]},
    "scdl_published": {"assignment": PUBLISHED},
    "scdl": {},
    "scdl_root_mass": {"mass_exponent": 0.5},
    # SCDL where nothing else balances the classes
    "cps_scdl": {"supervised_losses": "@dice_ce_losses", "cps_loss": "@dice_ce", "scdl_weight": 1.0},
    # one part at a time off
    "scdl_no_sac": {"sac_weight": 0.0},
    "scdl_no_agreement": {"agreement_weight": 0.0},
    "scdl_no_unlabeled_tokens": {"scdl_unlabeled_weight": 0.0},
    "scdl_one_student": {
        "loss_terms": [SUPERVISED, SCDL],
        "network_def#initializers": [{"_target_": "scdl_components.networks.small_uniform_", "_mode_": "callable"}],
    },
}
MAIN = ("supervised", "cps", "cps_ga", "scdl_published", "scdl")

# what the defaults were chosen from, on tuning seeds and validation cases of other phantoms (see run.py); tuning.md
# says what was run with which size of the embeddings
FORMER = {
    "scdl_weight": 0.1,
    "separation_weight": 0.3,
    "distance_weight": 0.03,
    "agreement_weight": 0.15,
    "sac_weight": 0.1,
    "averaging": "@token_mean",
    "scdl_unlabeled_weight": 1.0,
    "voxels_per_token": 4,
    "scdl_learning_rate": 0.01,
    "initial_sigma": 0.69,
}
PROTOTYPE = {**FORMER, "separation_weight": 1.0, "distance_weight": 0.1, "sac_weight": 0.3}
PROTOTYPE["scdl_unlabeled_weight"] = 0.1
FAST = {**PROTOTYPE, "scdl_learning_rate": 1.0, "temperature": 0.07}
# tokens half as wide
FINE = {**FAST, "voxels_per_token": 2, "distance_weight": 1.0, "sac_weight": 1.0, "agreement_weight": 0.016}
BALANCED = {**FINE, "averaging": "@class_mean", "sac_weight": 2.0, "agreement_weight": 0.1, "temperature": 0.1}
CANDIDATES: dict[str, dict[str, object]] = {
    "former": FORMER,
    "prototype": PROTOTYPE,
    "prototype_published": {**PROTOTYPE, "assignment": PUBLISHED},
    "prototype_strong": {**PROTOTYPE, "scdl_weight": 1.0},
    "fast": FAST,
    "fast_published": {**FAST, "assignment": PUBLISHED},
    "fine": FINE,
    "balanced": BALANCED,
    "narrow": {"scdl_weight": 0.1, "scdl_learning_rate": 0.1},
    "narrow_strong": {"scdl_weight": 1.0, "scdl_learning_rate": 0.01},
    "weight_10": {"scdl_weight": 10.0, "scdl_learning_rate": 0.001},  # the defaults since
    "weight_10_unlabeled_1": {"scdl_weight": 10.0, "scdl_learning_rate": 0.001, "scdl_unlabeled_weight": 1.0},
    "weight_30_unlabeled_1": {"scdl_weight": 30.0, "scdl_learning_rate": 0.00033, "scdl_unlabeled_weight": 1.0},
    # the defaults but for one key
    "weight_3": {"scdl_weight": 3.0},
    "unlabeled_03": {"scdl_unlabeled_weight": 0.3},
    "voxel_tokens": {"voxels_per_token": 1},
    "cps_weight_1": {"cps_weight": 1.0},
    "cps_weight_10": {"cps_weight": 10.0},
    "cps_ga_cps_weight_1": {"loss_terms": [SUPERVISED, CPS], "cps_weight": 1.0},
    "cps_ga_cps_weight_10": {"loss_terms": [SUPERVISED, CPS], "cps_weight": 10.0},
}
