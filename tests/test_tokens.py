# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from scdl_components.errors import SettingError
from scdl_components.tokens import pool_labels, pool_tokens, token_grid, tokenize


@pytest.mark.parametrize(
    "spatial_size, voxels_per_token, grid",
    [
        ((96, 96, 96), 8, (12, 12, 12)),
        ((160, 128), 8, (20, 16)),
        ((50, 60, 70), 8, (6, 8, 9)),
        ((64, 64, 16), (8, 8, 4), (8, 8, 4)),
        ((5, 64), 16, (1, 4)),
    ],
)
def test_grid_from_voxels_per_token(spatial_size, voxels_per_token, grid):
    assert token_grid(spatial_size, voxels_per_token) == grid


@pytest.mark.parametrize("voxels_per_token", [0, (8, 8)])
def test_grid_that_does_not_fit_is_refused(voxels_per_token):
    with pytest.raises(ValueError, match="voxels_per_token"):
        token_grid((32, 32, 32), voxels_per_token)


@pytest.mark.parametrize("size", [(24,), (24, 17), (24, 17, 9)])
def test_labels_are_class_shares_whose_rows_sum_to_one(size):
    label = torch.randint(0, 5, (2, 1, *size), generator=torch.Generator().manual_seed(0))
    grid = token_grid(size, 8)
    weights = pool_labels(label, 5, grid)
    onehot = F.one_hot(label[:, 0], 5).movedim(-1, 1).float()
    torch.testing.assert_close(weights, pool_tokens(onehot, grid))
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))


def test_label_without_channel_and_float_label_are_the_same():
    label = torch.randint(0, 3, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    weights = pool_labels(label, 3, (2, 2))
    assert torch.equal(weights, pool_labels(label[:, 0], 3, (2, 2)))
    assert torch.equal(weights, pool_labels(label.float(), 3, (2, 2)))


def test_grid_follows_the_image_when_features_are_coarser():
    tokens = tokenize(torch.randn(1, 4, 6, 6, 6), torch.zeros(1, 1, 24, 24, 24), 2, 8)
    assert tokens.features.shape == (1, 27, 4) and tokens.weights.shape == (1, 27, 2)
    assert tokenize(torch.randn(1, 4, 6, 6, 6), None, 2, 8, spatial_size=(24, 24, 24)).features.shape == (1, 27, 4)


def test_more_tokens_than_features_are_refused():
    with pytest.raises(
        SettingError, match=r"features of \(4, 4, 8\) cannot make \(8, 4, 8\) tokens: raise voxels_per_token"
    ):
        pool_tokens(torch.randn(1, 2, 4, 4, 8), (8, 4, 8))


def test_tokens_lie_in_the_order_of_the_grid():
    features = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pool_tokens(features, (2, 3)).flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "size, grid", [((12, 8, 8), (3, 4, 2)), ((12, 8), (6, 2)), ((10,), (5,)), ((12, 9, 8), (3, 4, 2)), ((7, 8), (3, 4))]
)
def test_tokens_and_their_gradient_are_those_of_adaptive_pooling(size, grid):
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = getattr(F, f"adaptive_avg_pool{len(grid)}d")(features, grid).flatten(2).mT
    tokens = pool_tokens(features, grid)
    assert torch.allclose(tokens, expected, atol=1e-12)
    into = torch.randn_like(tokens)
    gradients = [torch.autograd.grad(values, features, into)[0] for values in (tokens, expected)]
    assert torch.allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8, 8), (7, 8, 9)])
def test_tokens_of_half_precision_are_float32(size):
    features = torch.randn(1, 3, *size).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        tokens = pool_tokens(features, (2, 2, 2))
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, pool_tokens(features.float(), (2, 2, 2)))
    tokens.sum().backward()
    assert features.grad.dtype == torch.bfloat16


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"holds \[7\].*0\.\.2.*num_classes"):
        pool_labels(torch.tensor([[[0, 7]]]), 3, (1,))


def test_onehot_label_is_refused():
    with pytest.raises(ValueError, match="argmax"):
        pool_labels(torch.zeros(1, 3, 8, 8), 3, (2, 2))
