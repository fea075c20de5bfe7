# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Priors in the decoder: equal to the published networks, deterministic in evaluation, refused where they cannot be."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import DynUNet, UNet

from scdl_components.errors import InputError
from scdl_components.losses import CDBALoss, GADiceLoss, SACLoss, SCDLLoss
from scdl_components.networks import DualStudent, PriorNetwork, VNet
from scdl_components.networks.features import WithFeatures
from scdl_components.networks.priors import resample
from scdl_components.networks.weights import WeightsError, load_weights
from scdl_components.proxies import ProxyBank

REFERENCE = Path(__file__).parents[1] / "reference" / "magicnet.npz"
ALL = ("distribution", "center", "samples")


def build(at="stages", tokens="block_four", edge=8, priors=ALL, projections=True, **kwargs) -> PriorNetwork:
    """Two filters, five classes; projections drawn, where they are not left at zero."""
    torch.manual_seed(0)
    channels = {"block_three": 8, "block_four": 16, "block_nine": 2}[tokens]
    bank = ProxyBank(channels, 5, embed_dim=8, **kwargs)
    network = PriorNetwork(VNet(1, 5, 2, norm="instance"), bank, at, tokens, priors, edge)
    for name, weight in network.named_parameters():
        if projections and name.endswith("projection.weight"):
            torch.nn.init.normal_(weight)
    return network


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    with np.load(REFERENCE) as arrays:
        names = [name for name in arrays.files if name.startswith(("student/", "scdl/", "prior", "image", "sample"))]
        return {name: torch.from_numpy(arrays[name]) for name in names}


# places, priors, its output, and our projections -> the published weights
CASES = {
    "head": (("published",), "prior/logits_head", {"block_nine": "student/prior_to_feat.weight"}),
    "stages": (
        ("published",),
        "prior/logits_all_stages",
        {
            "block_five_up": "student/decoder.p12.weight",
            "block_six_up": "student/decoder.p24.weight",
            "block_seven_up": "student/decoder.p48.weight",
            "block_eight_up": "student/decoder.p96.weight",
        },
    ),
    "bottleneck": (("published", "samples"), "prior5/logits", {"block_five": "prior5/projection"}),
}


@pytest.mark.parametrize("at", CASES)
def test_reproduces_the_published_networks(published, at):
    priors, output, projections = CASES[at]
    vnet = VNet(1, 5, 1, norm="instance")
    names = {
        name.split(".", 1)[1]: value for name, value in published.items() if "student/" in name and "coder." in name
    }
    vnet.load_state_dict({name: names[name] for name in vnet.state_dict()})
    bank = ProxyBank(8, 5, embed_dim=12, dropout=0.0)
    encoder = {name: published[f"scdl/{name}"] for name in bank.state_dict() if name != "embedding_sigma"}
    bank.load_state_dict({**encoder, "embedding_sigma": published["scdl/sigma_emb"].flatten()})
    network = PriorNetwork(vnet, bank, at, "block_four", priors).double()
    for place, name in projections.items():
        network.get_submodule(place).projection.weight.data = published[name].double().flatten(1)

    tokens, made, draw = published["prior/tokens"], [], bank.embedding_samples
    noise = (published["prior5/token_samples"] - bank.encode(tokens)[:, :, None]) / bank.embedding_sigma
    bank.embedding_samples = lambda embeddings: draw(embeddings, noise)
    network.get_submodule(next(iter(projections))).projection.register_forward_hook(
        lambda _, args, __: made.append(args[0])
    )
    with torch.no_grad():
        logits = network(published["image"].double() / 16)
    expected = published["prior/map" if len(priors) == 1 else "prior5/combined"]
    torch.testing.assert_close(made[0].transpose(1, 2).reshape(expected.shape), expected, rtol=0, atol=1e-6)
    sampled = logits.flatten()[:: published["sample_step"].item()]
    torch.testing.assert_close(sampled, published[output], rtol=0, atol=1e-6)


@pytest.mark.parametrize("grid, size, mode", [([3, 4, 5], [6, 16, 5], "trilinear"), ([8, 4], [4, 7], "bilinear")])
def test_resampling_is_torchs(grid, size, mode):
    values = torch.randn(2, 3, *grid)
    expected = torch.nn.functional.interpolate(values, size=size, mode=mode, align_corners=False)
    torch.testing.assert_close(resample(values, size), expected)


def test_training_starts_from_the_network_as_it_is():
    network = build(projections=False)
    images = torch.randn(1, 1, 32, 32, 32)
    alone = VNet(1, 5, 2, norm="instance")
    alone.load_state_dict(
        {name.replace(".module", ""): v for name, v in network.network.state_dict().items() if "proj" not in name}
    )
    torch.testing.assert_close(network(images), alone(images))


@pytest.mark.parametrize(
    "at, tokens, edge", [("head", "block_nine", 4), ("stages", "block_four", 8), ("bottleneck", "block_three", 4)]
)
def test_training_draws_and_evaluation_does_not(at, tokens, edge):
    network, images = build(at, tokens, edge), torch.randn(2, 1, 32, 32, 32)
    assert not torch.equal(network(images), network(images))
    logits = network.eval()(images)
    assert torch.equal(network(images), logits)
    torch.testing.assert_close(network(images[1:]), logits[1:], rtol=0, atol=1e-4)  # a window's output is its own


def test_copies_are_whole_and_their_own():
    network, images = build().eval(), torch.randn(1, 1, 32, 32, 32)
    network(images)
    other = deepcopy(network)
    assert torch.equal(other(images), network(images))
    with torch.no_grad():
        other.bank.proxies.normal_()
    assert not torch.equal(other(images), network(images))


def test_every_parameter_gets_gradient_and_the_spread_of_tokens_only_where_it_is_used():
    for priors in (ALL, ("distribution", "center"), "published"):
        network = build(priors=priors)
        network(torch.randn(1, 1, 32, 32, 32)).square().mean().backward()
        assert network.bank.embedding_sigma.requires_grad == (priors == ALL)
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
        assert network.bank.proxies.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype):
    network, images = build().eval(), torch.randn(1, 1, 32, 32, 32)
    with torch.autocast("cpu", dtype=dtype):
        low = network(images)
    assert low.dtype == dtype
    full = network(images)
    assert (low.float() - full).norm() < 0.05 * full.norm()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_it_is_exported_by_tracing_and_compiled():
    network = DualStudent(build()).eval()
    images = torch.randn(3, 1, 32, 32, 32)
    expected = network(images)
    traced = torch.jit.trace(network, images[:1])
    torch.testing.assert_close(traced(images), expected)  # any batch, and the spatial size that was traced
    program = torch.export.export(network, (images,))
    torch.testing.assert_close(program.module()(images), expected)
    compiled = torch.compile(network.students[0], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), network.students[0](images))
    with pytest.raises(InputError, match="exported by tracing: add --use_trace True --input_shape"):
        torch.jit.script(network)


def test_compiled_training_is_the_same():
    network = build(dropout=0.0)
    with torch.no_grad():  # spreads of zero: what is drawn, in another order there, makes no difference
        network.bank.proxies[:, 8:] = -100
        network.bank.embedding_sigma.zero_()
    images, results = torch.randn(1, 1, 32, 32, 32), []
    variables = [p for p in network.parameters() if p is not network.bank.embedding_sigma]
    student = WithFeatures(network, [network.token_module])
    for run in (student, torch.compile(student, backend="aot_eager")):
        output = run(images)
        loss = output.logits.square().mean() + output.features[network.token_module].mean()
        results.append([output.logits, *torch.autograd.grad(loss, variables)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_monais_networks_hold_a_module_under_two_names():
    torch.manual_seed(0)
    kernels = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}
    network = DynUNet(2, 1, 3, **kernels)
    priors = PriorNetwork(
        network, ProxyBank(16, 3), {"upsamples.0": 8, "skip_layers.upsample": 4}, "bottleneck", ALL, 4
    ).eval()
    images = torch.randn(1, 1, 16, 16)
    before = priors(images)
    for name in ("upsamples.0", "upsamples.1"):
        torch.nn.init.normal_(priors.get_submodule(name).projection.weight)
        assert not torch.equal(priors(images), before)
        before = priors(images)


@pytest.mark.parametrize(
    "change, told",
    [
        (
            {"at": "head", "tokens": "block_six_down"},
            "feature_module: 'block_six_down' is no module of VNet; it has block_one,",
        ),
        ({"at": {"block_10": 2}}, "prior_places: 'block_10' is no module of VNet; it has block_one,"),
        (
            {"at": "neck"},
            r"prior_places is 'neck'; VNet has \['head', 'stages', 'bottleneck'\]: give modules and the channels",
        ),
        (
            {"priors": "mean"},
            r"priors is \['mean'\]; expected some of \['distribution', 'center', 'samples', 'published'\]",
        ),
        ({"at": {"block_two": 4}}, "added at block_two, which runs before block_four.*name an earlier feature_module"),
        ({"at": {"block_six": 4}}, "prior_places says block_six has 4 channels; it has 16"),
        ({"tokens": "block_three"}, "has 8 channels: set proxy_bank#in_channels to that, which is 16"),
    ],
)
def test_what_cannot_be_is_refused(change, told):
    given = {"at": "stages", "tokens": "block_four", "priors": ALL, **change}
    with pytest.raises(InputError, match=told):
        PriorNetwork(VNet(1, 5, 2), ProxyBank(16, 5), **given)(torch.zeros(1, 1, 32, 32, 32))


def test_a_network_without_places_of_its_own_is_told_apart():
    with pytest.raises(InputError, match="UNet has no places of its own: give modules and the channels"):
        PriorNetwork(UNet(2, 1, 2, channels=[4, 8], strides=[2]), ProxyBank(8, 2), tokens="model.1.submodule")


def test_weights_with_and_without_proxies_are_told_apart(tmp_path):
    networks = [DualStudent(VNet(1, 5, 2, norm="instance")), DualStudent(build())]
    for index, network in enumerate(networks):
        torch.save(network.state_dict(), tmp_path / f"{index}.pt")
    with pytest.raises(WeightsError, match=r"0\.pt holds weights without proxies.*leave priors.yaml out"):
        load_weights(str(tmp_path / "0.pt"), networks[1])
    with pytest.raises(WeightsError, match=r"1\.pt holds weights of a network with priors: put priors.yaml behind"):
        load_weights(str(tmp_path / "1.pt"), networks[0])


@pytest.mark.parametrize("at, tokens, edge", [("head", "block_nine", 4), ("stages", "block_four", 8)])
def test_the_losses_train_the_students_own_banks_on_the_tokens_of_the_priors(at, tokens, edge):
    network = DualStudent(build(at, tokens, edge, projections=False))
    students = list(network.students)
    bank = students[0].bank
    scdl = SCDLLoss(CDBALoss(bank, edge), SACLoss(bank, edge), students=students, weight=1.0)
    assert not scdl.state_dict() and not list(scdl.parameters())
    assert [loss.bank for pair in scdl.losses for loss in pair] == [s.bank for s in students for _ in "ab"]
    label = torch.zeros(2, 1, 32, 32, 32, dtype=torch.long)
    label[:, :, 8:20, 8:24, 4:28] = 1
    images = label + 0.2 * torch.randn(label.shape)
    optimizer, dice, losses = torch.optim.Adam(network.parameters(), lr=3e-3), GADiceLoss(), []
    for _ in range(12):
        outputs = [WithFeatures(student, [scdl.feature_module])(images) for student in students]
        terms = scdl([output.features[scdl.feature_module] for output in outputs], label, 0.5)
        loss = sum(dice(output.logits, label) for output in outputs) + sum(w * v for v, w in terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.9 * losses[0]
    assert all(
        place.projection.weight.abs().sum() > 0
        for s in students
        for place in s.modules()
        if hasattr(place, "projection")
    )


def test_tokens_are_the_features_before_the_prior_is_added():
    network, images = build("head", "block_nine", 4).eval(), torch.randn(1, 1, 32, 32, 32)
    found = {}
    for name in (network.token_module, "block_nine"):
        network.get_submodule(name).register_forward_hook(
            partial(lambda name, _, __, output: found.update({name: output}), name)
        )
    network(images)
    assert network.token_module == "network.block_nine.module" and not torch.equal(*found.values())
