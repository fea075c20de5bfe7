# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The published MagicNet's weights of tests/reference, as the authors' checkpoints hold them."""

import ast
import json
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigWorkflow
from support.magicnet import published, sampled, tensor
from support.runner import copy_bundle, run_monai

from scdl_components.errors import InputError
from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.weights import WeightsError, load_weights
from scdl_components.tools.convert import convert

NETWORK, SCDL = published("student/"), published("scdl/")
# the network with a projection at the bottleneck has the decoder's, too
BOTTLENECK = {k: v for k, v in NETWORK.items() if "prior_to_feat" not in k and "x4_to" not in k}
BOTTLENECK |= {"prior_proj5.weight": tensor("prior5/projection").float()}
PLAIN = {k: v for k, v in BOTTLENECK.items() if "prior" not in k and "decoder.p" not in k}
HEAD = {k: v for k, v in NETWORK.items() if "decoder.p" not in k}


def parallel(state):
    return {f"module.{name}": value for name, value in state.items()}


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A bundle with the five classes of the reference."""
    metadata = copy_bundle(tmp_path) / "configs" / "metadata.json"
    content = json.loads(metadata.read_text())
    classes = ["background", "spleen", "liver", "stomach", "aorta"]
    content["network_data_format"]["outputs"]["pred"]["channel_def"] = {str(i): n for i, n in enumerate(classes)}
    metadata.write_text(json.dumps(content))
    return metadata.parent.parent


def converted(bundle: Path, content: object, scdl: object = None, **keys: str) -> str:
    torch.save(content, bundle / "best.pth")
    if scdl is not None:
        torch.save(scdl, bundle / "scdl.pth")
        keys["scdl"] = str(bundle / "scdl.pth")
    return convert(str(bundle / "best.pth"), str(bundle / "models" / "model.pt"), **keys)


def words_of_command(told: str) -> list[str]:
    words = shlex.split(told.split("segment with: ")[1])
    assert words[:4] == ["python", "-m", "monai.bundle", "run"]
    return words[3:]


def network_of_command(told: str) -> DualStudent:
    """What the configs and keys of the command make, with its weights."""
    words = words_of_command(told)[1:]
    keys = {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2])}
    configs = ast.literal_eval(keys.pop("config_file"))
    keys = {key: ast.literal_eval(value) if value[0] in "[0123456789" else value for key, value in keys.items()}
    root = str(Path(configs[0]).parents[1])  # which only a run finds itself
    parser = ConfigWorkflow(configs, logging_file=False, bundle_root=root, **keys).parser
    network = parser.get_parsed_content("network_def")
    load_weights(parser.get_parsed_content("weights"), network)
    return network.double().eval()


def image() -> torch.Tensor:
    return tensor("image").double() / 16


COMBINED = {"model": NETWORK, "scdl": SCDL}
FORMS = {
    "combined": (COMBINED, None, "stages", "prior/logits_all_stages"),
    "combined, old name, parallel": (
        {"model": parallel(NETWORK), "eprl": parallel(SCDL)},
        None,
        "head",
        "prior/logits_head",
    ),
    "two files": (NETWORK, SCDL, "head", "prior/logits_head"),
    "two files, wrapped": (
        {"model_state_dict": NETWORK},
        {"state_dict": parallel(SCDL)},
        "stages",
        "prior/logits_all_stages",
    ),
    "one place": (HEAD, SCDL, None, "prior/logits_head"),
    "bottleneck": ({"model": parallel(BOTTLENECK)}, {"eprl": SCDL}, None, "prior5/logits"),
    "two places, none chosen": (COMBINED, None, None, "logits"),
    "priors not wanted": ({"model": BOTTLENECK, "scdl": SCDL}, None, "none", "logits"),
    "no SCDL module": (parallel(BOTTLENECK), None, None, "logits"),
    "host alone": ({"state_dict": PLAIN, "epoch": 3}, None, None, "logits"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_converted_network_gives_the_published_logits(bundle, form):
    content, scdl, place, expected = FORMS[form]
    told = converted(bundle, content, scdl, prior_places=place)
    assert "one student of the published MagicNet, num_filters 1, 5 classes" in told
    assert "left out: location head" in told
    assert (", no priors (--prior_places: stages, head)" in told) is (form == "two places, none chosen")
    assert (", SCDL module" in told) is (expected == "logits" and ("scdl" in content))
    assert ("projections of priors" in told) is (form != "host alone")
    network = network_of_command(told)
    if expected == "prior5/logits":  # the published network draws token samples
        network.students[0].bank.token_direction = lambda embeddings: tensor("prior5/token_samples").mean(2)
    with torch.no_grad():
        torch.testing.assert_close(sampled(network(image())), tensor(expected), rtol=0, atol=1e-6)


def test_the_released_form_with_tokens_of_the_last_features(bundle):
    """The SCDL module takes as many channels as there are filters: the head is the only place after its tokens."""
    torch.manual_seed(0)
    scdl = {**SCDL, "encoder.0.weight": torch.randn(24, 1)}
    told = converted(bundle, NETWORK, scdl)
    assert "priors at head" in told and "--feature_module block_nine" in told
    vnet = VNet(1, 5, 1, norm="instance").double()
    names = {name.removeprefix("encoder.").removeprefix("decoder."): value for name, value in NETWORK.items()}
    vnet.load_state_dict({name: names[name] for name in vnet.state_dict()})
    weights = {name: value.double() for name, value in scdl.items()}
    with torch.no_grad():
        found: list[torch.Tensor] = []
        vnet.block_nine.register_forward_hook(lambda _, __, output: found.append(output.clone()))
        vnet(image())
        (features,) = found
        z = F.adaptive_avg_pool3d(features, 8).flatten(2).transpose(1, 2)
        for layer in ("0", "3", "6"):
            z = F.linear(z, weights[f"encoder.{layer}.weight"], weights[f"encoder.{layer}.bias"])
            z = z if layer == "6" else z.relu()
        means = F.normalize(weights["proxies"][:, :12], dim=-1)
        prior = F.normalize((F.normalize(z, dim=-1) @ means.T / 0.2).softmax(-1) @ means, dim=-1)
        prior = prior.transpose(1, 2).reshape(-1, 12, 8, 8, 8)
        prior = F.conv3d(prior, NETWORK["prior_to_feat.weight"].double())
        expected = vnet.out_conv(features + F.interpolate(prior, size=(64, 64, 64), mode="trilinear"))
        torch.testing.assert_close(network_of_command(told)(image()), expected, rtol=0, atol=1e-6)


def test_the_command_told_segments(bundle, tmp_path):
    told = converted(bundle, HEAD, SCDL)
    volume = image()[:1]  # of 100 HU
    nibabel.save(
        nibabel.Nifti1Image((100 * volume[0, 0]).numpy().astype(np.float32), np.eye(4)), tmp_path / "ct.nii.gz"
    )
    words = [word.replace("/path/of", str(tmp_path)) for word in words_of_command(told)]
    # the image as it is, in one window
    scale = ["--pixdim", "[1,1,1]", "--roi_size", "[64,64,64]", "--intensity_range", "[0,100]"]
    run_monai(
        *words, *scale, "--preprocessing#transforms#7#clip", "False", "--output_dir", tmp_path / "eval", cwd=tmp_path
    )
    labels = nibabel.load(tmp_path / "eval" / "ct_seg.nii.gz").get_fdata()
    with torch.no_grad():
        logits = network_of_command(told)(volume)[0]
    assert len(np.unique(labels)) > 1
    assert (labels == logits.argmax(0).numpy()).mean() > 0.999  # float32 there


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


@pytest.mark.parametrize(
    "network, scdl, place, told",
    [
        (NETWORK, SCDL, "bottleneck", r"prior_places is 'bottleneck'; .*best.pth allows \['stages', 'head', 'none'\]"),
        (BOTTLENECK, SCDL, "stages", r"allows \['bottleneck', 'none'\]"),
        (NETWORK, None, "head", r"allows \['none'\], with the SCDL module in it or at --scdl"),
        (NETWORK, {**SCDL, "encoder.0.weight": torch.zeros(24, 5)}, "head", r"allows \['none'\]"),
        (
            {k: v for k, v in NETWORK.items() if "p48" not in k},
            SCDL,
            "stages",
            "block_seven_up.projection.weight is missing",
        ),
        (NETWORK, {**SCDL, "proxies": torch.zeros(14, 24)}, "head", r"bank.proxies is \(14, 24\), not \(5, 24\)"),
        (NETWORK, {k: v for k, v in SCDL.items() if "6.bias" not in k}, "head", "bank.encoder.6.bias is missing"),
    ],
)
def test_priors_that_it_cannot_give_are_refused(bundle, network, scdl, place, told):
    with pytest.raises((InputError, WeightsError), match=told):
        converted(bundle, network, scdl, prior_places=place)


def test_students_that_are_no_pair_are_refused(bundle):
    torch.save(NETWORK, bundle / "other.pth")
    with pytest.raises(InputError, match="no pair: MagicNet has one student"):
        converted(bundle, NETWORK, student_b=str(bundle / "other.pth"))
    with pytest.raises(InputError, match="one of the two students of the published V-Net.*--student_b"):
        converted(bundle, VNet(1, 5, num_filters=1).state_dict())
