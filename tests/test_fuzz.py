# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What must hold for any shape, class count, spacing and orientation, drawn by hypothesis."""

import math

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd

from scdl_components.losses import CDBALoss, GACELoss, GADiceLoss, SACLoss
from scdl_components.losses.cdba import REDUCTIONS
from scdl_components.proxies import ProxyBank
from scdl_components.tokens import token_grid, tokenize
from scdl_components.transforms import InvertArgmaxd

EXAMPLES = 60


def bounded(test):
    """The same examples on every machine, without a clock."""
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    limits = settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=quiet
    )
    return limits(test)


@st.composite
def labeled_features(draw):
    """Features [B, D, *S] and labels [B, 1, *S] of one to three axes."""
    rank, batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    size = tuple(draw(st.integers(1, 9)) for _ in range(rank))
    num_classes = draw(st.integers(2, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1e-6, 1.0, 1e4]))
    features = scale * torch.randn(batch, channels, *size, generator=generator)
    label = torch.randint(0, draw(st.integers(1, num_classes)), (batch, 1, *size), generator=generator)
    return features, label, num_classes, draw(st.integers(1, 12))


@bounded
@given(labeled_features())
def test_tokens(case):
    features, label, num_classes, edge = case
    tokens = tokenize(features, label, num_classes, edge)
    batch, length = len(features), math.prod(token_grid(label.shape[2:], edge))
    assert tokens.features.shape == (batch, length, features.shape[1]) and tokens.features.isfinite().all()
    assert tokens.weights.shape == (batch, length, num_classes)
    rows = tokens.weights.sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows))
    present = set(label.unique().tolist())
    assert set(tokens.weights.sum((0, 1)).nonzero().flatten().tolist()) == present
    constant = tokenize(torch.full_like(features, 3.0), label, num_classes, edge)
    torch.testing.assert_close(constant.features, torch.full_like(constant.features, 3.0))


@bounded
@given(labeled_features())
def test_scdl_losses(case):
    features, label, num_classes, edge = case
    torch.manual_seed(0)
    features.requires_grad_()
    bank = ProxyBank(features.shape[1], num_classes, embed_dim=8, num_samples=3, tau_p2e=0.5)
    tokens = tokenize(features, label, num_classes, edge)
    terms = [SACLoss(bank).value(tokens)]
    for reduction in REDUCTIONS:
        loss = CDBALoss(bank, reduction=reduction)
        output = bank(tokens.features)
        terms += [term.value for weights in (tokens.weights, None) for term in loss.terms(output, weights).values()]
    assert all(term.isfinite() and term >= -1e-6 for term in terms)
    sum(terms).backward()
    for tensor in (features, *bank.parameters()):
        assert tensor.grad is None or tensor.grad.isfinite().all()


@bounded
@given(labeled_features(), st.sampled_from([GACELoss(top_k=10), GACELoss(top_k=100), GADiceLoss()]))
def test_supervised_losses(case, loss):
    features, label, num_classes, _ = case
    scale = features.abs().max().clamp(max=50)
    torch.manual_seed(0)
    logits = (scale * torch.randn(len(features), num_classes, *features.shape[2:])).requires_grad_()
    value = loss(logits, label)
    assert value.isfinite() and value >= 0
    value.backward()
    assert logits.grad.isfinite().all()
    if scale < 1:  # which of equal voxels are among the top k is arbitrary
        return
    # where a voxel stands does not matter
    order = torch.randperm(math.prod(features.shape[2:]))
    shuffled = loss(logits.detach().flatten(2)[..., order], label.flatten(2)[..., order])
    torch.testing.assert_close(shuffled, value.detach(), rtol=1e-4, atol=1e-5)


@st.composite
def grids(draw):
    """Shape and affine of a scan: any order and direction of axes, oblique or not, anisotropic."""
    spacing = [draw(st.floats(1.2, 6.0)) for _ in range(3)]
    shape = tuple(max(6, round(draw(st.integers(50, 80)) / length)) for length in spacing)
    axes = np.eye(3)[list(draw(st.permutations(range(3))))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    tilt, turn = (draw(st.floats(-0.4, 0.4)) for _ in range(2))
    around_x = [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    around_z = [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(around_x) @ np.array(around_z) @ axes @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    pixdim = [draw(st.floats(1.0, 4.0)) for _ in range(3)]
    return shape, affine, pixdim


def positions(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """World coordinates [3, *shape] of a grid's voxels, mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)


@bounded
@given(grids())
def test_labels_come_back_to_where_they_belong(case):
    """A ball in the world, seen by the network in its own grid, is the same ball in the scan's."""
    shape, affine, pixdim = case
    preprocessing = Compose(
        [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=pixdim, mode="bilinear")]
    )
    item = preprocessing({"image": MetaTensor(torch.zeros(1, *shape), affine=torch.as_tensor(affine))})
    world = positions(shape, affine)
    centre, radius = world.reshape(3, -1).mean(1), 16.0

    def inside(points: np.ndarray) -> np.ndarray:
        return radius - np.linalg.norm(points - centre.reshape(3, 1, 1, 1), axis=0)

    depth = inside(positions(item["image"].shape[1:], item["image"].affine.numpy()))
    item["pred"] = MetaTensor(torch.as_tensor(np.stack([-depth, depth])).float(), meta=item["image"].meta)
    found = InvertArgmaxd("pred", preprocessing, "image")(item)["pred"]
    assert found.shape == (1, *shape)
    np.testing.assert_allclose(found.affine.numpy(), affine, atol=1e-4)
    depth = inside(world)
    clear = np.abs(depth) > np.linalg.norm(pixdim)  # interpolation decides nearer to the surface
    assert (depth[clear] > 0).any()
    np.testing.assert_array_equal(found[0].numpy()[clear], depth[clear] > 0)
