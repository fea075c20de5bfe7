# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from scdl_components.proxies import BidirectionalAssignment, PublishedAssignment

ASSIGNMENTS = [BidirectionalAssignment(), PublishedAssignment(), PublishedAssignment(tau_p2e=0.5)]


def random_cosines(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def test_bidirectional_is_the_written_definition():
    cosines = random_cosines(2, 7, 3)
    assigned = BidirectionalAssignment(tau=0.3)(cosines)
    mass = torch.softmax((cosines / 0.3).flatten(0, 1), dim=0).unflatten(0, (2, 7))
    torch.testing.assert_close(assigned.q, torch.softmax(cosines / 0.3, dim=-1))
    torch.testing.assert_close(assigned.r, mass / mass.sum(-1, keepdim=True))
    agreed = assigned.q * assigned.r
    torch.testing.assert_close(assigned.consensus(), agreed / agreed.sum(-1, keepdim=True))


def test_every_class_hands_out_one_unit_however_few_tokens_lie_near_it():
    cosines = torch.full((2, 300, 2), -0.9, dtype=torch.float64)
    cosines[..., 0] = 0.9
    cosines[0, 0] = torch.tensor([-0.9, 0.9])  # one token of 600 is near the tail class
    assigned = BidirectionalAssignment()(cosines)
    assert assigned.r[0, 0, 1] > 0.99
    # where both classes are equally near, the tail has the mass and the token choice sees no difference
    between = BidirectionalAssignment()(torch.cat([cosines, torch.zeros(2, 1, 2, dtype=torch.float64)], dim=1))
    torch.testing.assert_close(between.q[0, -1], torch.full((2,), 0.5, dtype=torch.float64))
    assert between.r[0, -1, 1] > 0.95


def test_masked_tokens_receive_no_mass_and_change_nothing():
    cosines = random_cosines(2, 6, 3)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    other = cosines.clone()
    other[1, 4:] = 0.99
    first, second = (BidirectionalAssignment()(c, mask) for c in (cosines, other))
    torch.testing.assert_close(first.r[mask], second.r[mask])
    alone = BidirectionalAssignment()(cosines[mask][None])
    torch.testing.assert_close(first.r[mask], alone.r[0])


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 1), (1, 1, 4), (2, 5, 4)])
def test_rows_sum_to_one_for_any_size(assignment, shape):
    assigned = assignment(random_cosines(*shape))
    for rows in (assigned.q, assigned.r, assigned.consensus()):
        torch.testing.assert_close(rows.sum(-1), torch.ones(shape[:2], dtype=torch.float64))


@pytest.mark.parametrize("assignment", [BidirectionalAssignment(0.005), PublishedAssignment(0.005, 0.005)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masses_that_underflow_leave_values_and_gradients_finite(assignment, dtype):
    # the third class is far from every token
    cosines = torch.tensor([[[1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, -1.0]]]).to(dtype).requires_grad_()
    assigned = assignment(cosines)
    assert assigned.log_r.dtype == torch.float32 and assigned.log_r.isfinite().all()
    ((assigned.q - assigned.r) * (assigned.log_q - assigned.log_r)).sum().backward()
    assert cosines.grad.isfinite().all()


def test_a_batch_without_any_valid_token_is_finite():
    assigned = BidirectionalAssignment()(random_cosines(1, 4, 3).float(), torch.zeros(1, 4, dtype=torch.bool))
    assert assigned.r.isfinite().all()


@pytest.mark.parametrize("make", [lambda: BidirectionalAssignment(tau=0), lambda: PublishedAssignment(tau_p2e=-1.0)])
def test_temperatures_must_be_positive(make):
    with pytest.raises(ValueError, match="temperature must be positive"):
        make()
