# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MagicNet by its overlay: trained for two iterations as a user starts it, then segmenting with the same file."""

import json

import pytest
import torch
from support.runner import REAL_CT, copy_bundle, options, run_monai
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DATA = {"case_list": "case_list.json", "max_iterations": 2, "val_interval": 2, "log_interval": 1}
# two cubes of 32 voxels; the overlay's own initializer
SCALE = {"roi_size": "[64,32,32]", "network_def#initializers": "['$torch.nn.init.kaiming_normal_']"}


def train(tmp_path, phantoms, *overlays: str, words=(), check: bool = True):
    """The bundle's folder and what was printed."""
    bundle = copy_bundle(tmp_path)
    files = [str(bundle / "configs" / f"{name}.yaml") for name in ("train", "magicnet", *overlays)]
    scale = options(dataset_dir=phantoms, voxels_per_token=8, **DATA, **SCALE)
    printed = run_monai("run", "training", "--config_file", str(files), *scale, *words, cwd=tmp_path, check=check)
    return bundle, printed


def curves(bundle) -> set[str]:
    return set(EventAccumulator(str(bundle / "eval")).Reload().Tags()["scalars"])


def test_with_scdl_it_trains_and_segments(tmp_path, phantoms):
    bundle, _ = train(tmp_path, phantoms)
    there = curves(bundle)
    assert {"supervised/ce", "supervised/cross_dice", "location", "consistency", "scdl/sac", "val_mean_dice"} <= there
    assert {"blend_weight/liver", "pseudo_label_from_teacher"} <= there and "cps" not in there
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert not [name for name in state.get("model", state) if not name.startswith("students.0.")]
    files = [str(bundle / "configs" / f"{name}.yaml") for name in ("inference", "magicnet")]
    keys = [f"--{key}={value}" for key, value in {**SCALE, "pixdim": "[8,8,8]", "num_filters": 2}.items()]
    run_monai(
        *("run", "--config_file", str(files), "--dataset_dir", REAL_CT / "ct.nii.gz", *keys),
        *("--output_dir", tmp_path / "out"),
        cwd=tmp_path,
    )
    assert json.loads((tmp_path / "out" / "ct_seg.json").read_text())["made_with"]


@pytest.mark.slow
@pytest.mark.parametrize(("losses", "curve"), [("dice_ce", "dice_ce"), ("ga", "ga_dice")])
def test_without_scdl_and_with_other_losses(tmp_path, phantoms, losses, curve):
    bundle, _ = train(tmp_path, phantoms, losses, words=["--scdl", "false"])
    there = curves(bundle)
    assert {f"supervised/{curve}", "supervised/within_dice", "consistency", "val_mean_dice"} <= there
    assert not [name for name in there if name.startswith(("scdl/", "supervised/ce"))]


def test_what_cannot_train_is_told_before(tmp_path, phantoms):
    _, printed = train(tmp_path, phantoms, words=["--cube_size", "48"], check=False)
    last = printed.rstrip().splitlines()[-1]
    assert last.startswith("InputError: cubes of [48, 48, 48] voxels do not divide a patch of [64, 32, 32]"), printed
