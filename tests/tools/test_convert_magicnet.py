# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The published MagicNet's weights of tests/reference, as the authors' checkpoints hold them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.magicnet import published, sampled, tensor
from support.runner import BUNDLES

from scdl_components.errors import InputError
from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.weights import WeightsError, load_weights
from scdl_components.tools.convert import convert

NETWORK, SCDL = published("student/"), published("scdl/")
BOTTLENECK = {k: v for k, v in NETWORK.items() if "prior_to_feat" not in k and "x4_to" not in k}
BOTTLENECK |= {"prior_proj5.weight": torch.from_numpy(tensor("prior5/projection").numpy())}
PLAIN = {k: v for k, v in BOTTLENECK.items() if "prior" not in k and "decoder.p" not in k}


def parallel(state):
    return {f"module.{name}": value for name, value in state.items()}


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A bundle's metadata with the five classes of the reference."""
    content = json.loads((BUNDLES / "scdl_synapse" / "configs" / "metadata.json").read_text())
    classes = ["background", "spleen", "liver", "stomach", "aorta"]
    content["network_data_format"]["outputs"]["pred"]["channel_def"] = {str(i): n for i, n in enumerate(classes)}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(content))
    return tmp_path


def converted(bundle: Path, content: object, scdl: object = None, **keys: str) -> str:
    torch.save(content, bundle / "best.pth")
    if scdl is not None:
        torch.save(scdl, bundle / "scdl.pth")
        keys["scdl"] = str(bundle / "scdl.pth")
    return convert(str(bundle / "best.pth"), str(bundle / "models" / "model.pt"), **keys)


FORMS = {
    "combined": ({"model": NETWORK, "scdl": SCDL}, None, "stages or the head"),
    "combined, old name, parallel": ({"model": parallel(NETWORK), "eprl": parallel(SCDL)}, None, "stages or the head"),
    "two files": (NETWORK, SCDL, "stages or the head"),
    "two files, wrapped": ({"model_state_dict": NETWORK}, {"eprl": parallel(SCDL)}, "stages or the head"),
    "bottleneck": (parallel(BOTTLENECK), None, "at the bottleneck"),
    "host alone": ({"state_dict": PLAIN, "epoch": 3}, None, "MagicNet, num_filters"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_converted_network_gives_the_published_logits(bundle, form):
    content, scdl, kind = FORMS[form]
    told = converted(bundle, content, scdl)
    assert "one student of the published MagicNet" in told and kind in told and "num_filters 1, 5 classes" in told
    assert "left out: location head (fc_layer.fc_layer.0.weight (32, 128)" in told
    assert ("left out: projections of priors" in told) is (form != "host alone")
    assert ("left out: SCDL module (sigma_emb" in told) is (form.startswith(("combined", "two")))
    network = DualStudent(VNet(1, 5, num_filters=1, norm="instance"), [torch.nn.init.zeros_])
    load_weights(str(bundle / "models" / "model.pt"), network)
    with torch.no_grad():
        logits = network.double().eval()(tensor("image").double() / 16)
    torch.testing.assert_close(sampled(logits), tensor("logits"), rtol=0, atol=1e-6)


def test_what_it_is_not_is_told(bundle):
    with pytest.raises(WeightsError, match="holds the SCDL module alone.*found sigma_emb"):
        converted(bundle, SCDL)
    with pytest.raises(WeightsError, match="scdl.pth holds no SCDL module.*found encoder.block_one"):
        converted(bundle, NETWORK, NETWORK)
    less = {name: value for name, value in NETWORK.items() if "block_six" not in name}
    with pytest.raises(WeightsError, match="another network than the published MagicNet.*block_six.* is missing"):
        converted(bundle, less)
    with pytest.raises(WeightsError, match="dropout.weight is not expected"):
        converted(bundle, {**NETWORK, "dropout.weight": torch.zeros(2)})
    assert not (bundle / "models").exists()


def test_students_that_are_no_pair_are_refused(bundle):
    torch.save(NETWORK, bundle / "other.pth")
    with pytest.raises(InputError, match="no pair: MagicNet has one student"):
        converted(bundle, NETWORK, student_b=str(bundle / "other.pth"))
    with pytest.raises(InputError, match="one of the two students of the published V-Net.*--student_b"):
        converted(bundle, VNet(1, 5, num_filters=1).state_dict())
