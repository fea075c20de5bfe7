# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The other methods of the bundle, by an overlay or a word: two iterations each, as a user starts them."""

from __future__ import annotations

import pytest
from support.runner import copy_bundle, options, run_monai
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DATA = {"case_list": "case_list.json", "max_iterations": 2, "val_interval": 2, "log_interval": 1}
# overlay, words of the command line, curves that are there, beginnings of those that are not
METHODS = {
    "supervised": ("supervised", [], {"supervised/ga_ce"}, ("cps", "scdl/", "proxies_")),
    "cps": (None, ["--scdl", "false"], {"supervised/ga_ce", "cps"}, ("scdl/", "proxies_")),
    "dice_ce": ("dice_ce", [], {"supervised/dice_ce", "cps", "scdl/sac"}, ("supervised/ga_",)),
    "encoder tokens": (
        None,
        ["--feature_module", "block_four", "--proxy_bank#in_channels", "16"],
        {"cps", "scdl/sac"},
        (),
    ),
    "published": ("published", [], {"supervised/ga_ce", "cps", "scdl/separation"}, ("scdl/p2e",)),
}
WEIGHTS = {
    "dice_ce": {"separation": 1, "sac": 1},
    "published": {"separation": 0.03, "symmetric_kl": 0.015, "sac": 0.01},
}


@pytest.mark.parametrize("name", METHODS)
def test_two_iterations(tmp_path, phantoms, name):
    overlay, words, there, not_there = METHODS[name]
    configs = copy_bundle(tmp_path) / "configs"
    files = [str(configs / f"{file}.yaml") for file in ("train", overlay) if file]
    scale = options(dataset_dir=phantoms, voxels_per_token=8, **DATA)
    run_monai("run", "training", "--config_file", str(files), *scale, *words, cwd=tmp_path)
    events = EventAccumulator(str(configs.parent / "eval")).Reload()
    curves = set(events.Tags()["scalars"])
    assert there | {"loss", "val_mean_dice"} <= curves
    assert not [curve for curve in curves if curve.startswith(not_there)]
    for term, weight in WEIGHTS.get(name, {}).items():
        assert events.Scalars(f"weight/scdl/{term}")[0].value == pytest.approx(weight)
