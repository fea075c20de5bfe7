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
    # one part at a time off
    "scdl_no_sac": {"sac_weight": 0.0},
    "scdl_no_agreement": {"agreement_weight": 0.0},
    "scdl_no_unlabeled_tokens": {"scdl_unlabeled_weight": 0.0},
    "scdl_one_student": {
        "loss_terms": [SUPERVISED, SCDL],
        "network_def#initializers": ["$torch.nn.init.kaiming_normal_"],
    },
}
MAIN = ("supervised", "cps", "cps_ga", "scdl_published", "scdl")

# what the defaults are chosen from, on tuning seeds and validation cases of other phantoms (see run.py)
PROTOTYPE = {"separation_weight": 1.0, "distance_weight": 0.1, "sac_weight": 0.3, "scdl_unlabeled_weight": 0.1}
FINE = {"scdl_learning_rate": 1.0, "voxels_per_token": 2, "distance_weight": 1.0, "sac_weight": 1.0}
BY_TOKEN = {"averaging": {"_target_": "scdl_components.losses.TokenMean"}}
BY_CLASS = {"averaging": {"_target_": "scdl_components.losses.ClassMean"}}
NARROW = {"voxels_per_token": 2, "initial_sigma": 0.05, "sac_weight": 1.0, "scdl_learning_rate": 0.1, "agreement_weight": 2.4e-5}
CANDIDATES: dict[str, dict[str, object]] = {
    "prototype": {**PROTOTYPE, **BY_TOKEN},
    "prototype_published": {**PROTOTYPE, **BY_TOKEN, "assignment": PUBLISHED},
    "prototype_strong": {**PROTOTYPE, **BY_TOKEN, "scdl_weight": 1.0},
    "fast": {**PROTOTYPE, **BY_TOKEN, "scdl_learning_rate": 1.0, "temperature": 0.07},
    "fast_published": {**PROTOTYPE, **BY_TOKEN, "scdl_learning_rate": 1.0, "assignment": PUBLISHED},
    # tokens half as wide; the agreement is a sum over tokens
    "fine": {**PROTOTYPE, **BY_TOKEN, **FINE, "agreement_weight": 4e-6, "temperature": 0.07},
    "balanced": {**PROTOTYPE, **BY_CLASS, **FINE, "sac_weight": 2.0, "agreement_weight": 2.4e-5, "temperature": 0.1},
    # class distributions narrow enough for their samples to say where the class is
    "narrow": {**PROTOTYPE, **BY_CLASS, **NARROW},
    "narrow_strong": {**PROTOTYPE, **BY_CLASS, **NARROW, "scdl_weight": 1.0, "scdl_learning_rate": 0.01},
    "balanced_published": {**PROTOTYPE, **BY_CLASS, **FINE, "sac_weight": 2.0, "assignment": PUBLISHED},
}
