# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The other methods of the bundle, by an overlay or a word: two iterations each, as a user starts them."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from support.runner import BUNDLES, SCALE, copy_bundle, options, run_monai
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

METHOD = Path(__file__).parents[2] / "docs" / "method.md"
DATA = {"case_list": "case_list.json", "max_iterations": 2, "val_interval": 2, "log_interval": 1}
# class weights of a student's first and last class, as metadata.json has them
DHC = {f"class_weight/student_{index}/{name}" for index in (0, 1) for name in ("background", "left adrenal gland")}
# overlays, words of the command line, curves that are there, beginnings of those that are not
METHODS = {
    "supervised": ("supervised", [], {"supervised/ga_ce"}, ("cps", "scdl/")),
    "default": ("", [], {"supervised/ga_ce", "cps"}, ("scdl/",)),
    "dice_ce": ("dice_ce", [], {"supervised/dice_ce", "cps", "scdl/sac"}, ("supervised/ga_",)),
    "encoder tokens": (
        "",
        ["--scdl", "true", "--feature_module", "block_four", "--proxy_bank#in_channels", "16"],
        {"cps", "scdl/sac"},
        (),
    ),
    "published": ("published", [], {"supervised/ga_ce", "cps", "scdl/separation"}, ("scdl/p2e",)),
    "dhc": ("dhc", [], {"supervised/dice_ce", "cps", "scdl/sac", *DHC}, ("supervised/ga_",)),
    "dhc with ga": ("dhc ga", [], {"supervised/ga_ce", "supervised/ga_dice", "cps", *DHC}, ("supervised/dice_",)),
}
WEIGHTS = {
    "dice_ce": {"p2e": 0.1, "sac": 0.1},
    "dhc": {"p2e": 1, "sac": 1},
    "dhc with ga": {"p2e": 1, "sac": 1},
    "published": {"separation": 0.03, "symmetric_kl": 0.015, "sac": 0.01},
}


def test_published_yaml_has_the_published_values():
    config = ConfigParser()
    config.read_config([str(BUNDLES / "scdl_synapse" / "configs" / f"{name}.yaml") for name in ("train", "published")])
    assert (config["scdl"], config["scdl_weight"], config["augmentation"]) == (True, 0.1, [])
    assert (config["embed_dim"], config["voxels_per_token"]) == (256, 8)
    assert config["proxy_bank#initial_sigma"] == pytest.approx(math.log(2), abs=1e-4)
    assert config["scdl_loss#unlabeled_weight"] == 1
    assert [str(name).rsplit(".", 1)[1] for name in config["network_def#initializers"]] == [
        "kaiming_normal_",
        "xavier_normal_",
    ]


def train(bundle, phantoms, overlays: str, *words: object, check=True) -> str:
    """Output of a training of two iterations by these configs behind train.yaml."""
    files = [str(bundle / "configs" / f"{file}.yaml") for file in ("train", *overlays.split())]
    own = {"scdl": None} if overlays in ("", "supervised", "published") else {}  # as the configs have it
    scale = options(dataset_dir=phantoms, voxels_per_token=8, **DATA, **own)
    return run_monai("run", "training", "--config_file", str(files), *scale, *words, cwd=bundle.parent, check=check)


@pytest.mark.parametrize("name", METHODS)
def test_two_iterations(tmp_path, phantoms, name):
    overlays, words, there, not_there = METHODS[name]
    bundle = copy_bundle(tmp_path)
    train(bundle, phantoms, overlays, *words)
    events = EventAccumulator(str(bundle / "eval")).Reload()
    curves = set(events.Tags()["scalars"])
    assert there | {"loss", "val_mean_dice"} <= curves
    assert not [curve for curve in curves if curve.startswith(not_there)]
    for term, weight in WEIGHTS.get(name, {}).items():
        assert events.Scalars(f"weight/scdl/{term}")[0].value == pytest.approx(weight)


def test_dhc_without_scdl_segments_and_its_checkpoint_is_of_no_other_host(tmp_path, phantoms):
    bundle = copy_bundle(tmp_path)
    train(bundle, phantoms, "dhc", "--scdl", "false")
    events = EventAccumulator(str(bundle / "eval")).Reload()
    curves = set(events.Tags()["scalars"])
    assert {"supervised/dice_ce", "cps", *DHC} <= curves and not [c for c in curves if c.startswith("scdl/")]
    # the distribution-aware weights start from the labels, where background is the largest class
    assert events.Scalars("class_weight/student_1/background")[0].value < 0.15
    assert events.Scalars("class_weight/student_1/left adrenal gland")[0].value > 10
    checkpoint = torch.load(bundle / "models" / "checkpoint_2.pt", weights_only=True)
    assert checkpoint["settings"]["augmentation#1#_target_"] == "RandFlipd"
    assert checkpoint["optimizer"]["param_groups"][0]["nesterov"]

    segment = ("run", "--config_file", bundle / "configs" / "inference.yaml", "--output_dir", tmp_path / "out")
    run_monai(*segment, "--dataset_dir", phantoms / "img" / "img0008.nii.gz", *SCALE, cwd=tmp_path)
    assert (tmp_path / "out" / "img0008_seg.nii.gz").is_file()

    other = train(bundle, phantoms, "", "--resume", bundle / "models" / "checkpoint_2.pt", check=False)
    told = other.rstrip().splitlines()[-1]
    assert "another host ('scdl_components.hosts.DHC' -> 'scdl_components.hosts.CPS')" in told
    assert "--resume never" in told and "Traceback" not in other


def test_dhc_without_unlabeled_cases_is_refused_at_once(tmp_path, phantoms):
    cases = json.loads((phantoms / "case_list.json").read_text()) | {"unlabeled": []}
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    output = train(copy_bundle(tmp_path), phantoms, "dhc", "--case_list", tmp_path / "cases.json", check=False)
    assert "needs unlabeled cases" in output.rstrip().splitlines()[-1] and "Traceback" not in output


def test_a_host_of_ones_own_as_documented(tmp_path, phantoms):
    page = METHOD.read_text(encoding="utf-8")
    bundle = copy_bundle(tmp_path)
    (bundle / "my_host.py").write_text(re.search(r"```python\n(.*?class Agreement.*?)```", page, re.DOTALL).group(1))
    train(bundle, phantoms, "", "--scdl", "true", "--host", re.search(r'--host "(.*?)"', page).group(1))
    curves = set(EventAccumulator(str(bundle / "eval")).Reload().Tags()["scalars"])
    assert {"supervised/ga_ce", "agreement", "scdl/sac", "val_mean_dice"} <= curves and "cps" not in curves
