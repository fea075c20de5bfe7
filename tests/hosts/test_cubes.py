# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from scdl_components.hosts.cubes import cut, exchange, put_together


@pytest.mark.parametrize(("shape", "grid"), [((2, 3, 4, 6, 8), (2, 3, 2)), ((3, 2, 4, 6), (2, 1))])
def test_cubes_put_together_are_the_volumes(shape, grid):
    volumes = torch.randn(shape)
    cubes = cut(volumes, grid)
    assert torch.equal(put_together(cubes, grid), volumes)
    sizes = [size // n for size, n in zip(shape[2:], grid)]
    corner = (slice(None), *(slice(size) for size in sizes))
    assert torch.equal(cubes[0], volumes[0][corner])
    # the next one along the last axis
    last = (*corner[:-1], slice(shape[-1] - sizes[-1], None))
    assert torch.equal(cubes[grid[-1] - 1], volumes[0][last])


def test_volumes_exchange_cubes_of_one_place():
    volumes = torch.arange(3.0)[:, None, None, None].expand(3, 2, 4, 4) + torch.rand(4, 4)
    order = torch.tensor([[[1, 0], [2, 0]], [[0, 1], [0, 2]], [[2, 2], [1, 1]]])
    mixed = exchange(volumes, order)
    for b in range(3):
        for x in range(2):
            for y in range(2):
                window = (slice(None), slice(2 * x, 2 * x + 2), slice(2 * y, 2 * y + 2))
                assert torch.equal(mixed[b][window], volumes[order[b, x, y]][window])
    assert torch.equal(exchange(mixed, order.argsort(0)), volumes)
