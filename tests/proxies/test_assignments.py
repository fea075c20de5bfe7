# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from scdl_components.proxies import BidirectionalAssignment, PublishedAssignment

HALF = BidirectionalAssignment(mass_exponent=0.5)
ASSIGNMENTS = [BidirectionalAssignment(), HALF, PublishedAssignment(), PublishedAssignment(tau_p2e=0.5)]


def random_cosines(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def test_bidirectional_is_the_written_definition():
    cosines = random_cosines(2, 7, 3)
    assigned = BidirectionalAssignment(tau=0.3)(cosines)
    mass = torch.softmax((cosines / 0.3).flatten(0, 1), dim=0).unflatten(0, (2, 7))
    torch.testing.assert_close(assigned.q, torch.softmax(cosines / 0.3, dim=-1))
    torch.testing.assert_close(assigned.log_mass.exp(), mass)
    torch.testing.assert_close(assigned.r, mass / mass.sum(-1, keepdim=True))
    agreed = assigned.q * assigned.r
    torch.testing.assert_close(assigned.consensus(), agreed / agreed.sum(-1, keepdim=True))


def test_every_class_hands_out_one_unit_however_few_tokens_lie_near_it():
    cosines = torch.full((2, 300, 2), -0.9, dtype=torch.float64)
    cosines[..., 0] = 0.9
    cosines[0, 0] = torch.tensor([-0.9, 0.9])  # one token of 600 is near the tail class
    assigned = BidirectionalAssignment()(cosines)
    torch.testing.assert_close(assigned.log_mass.exp().sum((0, 1)), torch.ones(2, dtype=torch.float64))
    # where both classes are equally near, the tail has the mass and the token choice sees no difference
    between = BidirectionalAssignment()(torch.cat([cosines, torch.zeros(2, 1, 2, dtype=torch.float64)], dim=1))
    torch.testing.assert_close(between.q[0, -1], torch.full((2,), 0.5, dtype=torch.float64))
    assert between.r[0, -1, 1] > 0.95


def test_masses_follow_a_power_of_what_tokens_chose():
    cosines = random_cosines(2, 7, 3)
    equal = BidirectionalAssignment(tau=0.3)(cosines)
    chosen = equal.q.sum((0, 1))
    for exponent in (0.5, 1.0):
        assigned = BidirectionalAssignment(tau=0.3, mass_exponent=exponent)(cosines)
        masses = chosen**exponent / (chosen**exponent).mean()
        torch.testing.assert_close(assigned.q, equal.q)
        torch.testing.assert_close(assigned.log_mass.exp(), equal.log_mass.exp() * masses)
        torch.testing.assert_close(assigned.r, assigned.log_mass.softmax(-1))


def test_with_an_exponent_of_one_a_class_that_no_token_is_near_raises_itself_nowhere():
    near, far = 0.9, -0.1
    cosines = torch.full((1, 1000, 3), far, dtype=torch.float64)
    cosines[0, :990, 0] = cosines[0, 990:, 1] = near  # no token is near the third class
    q = BidirectionalAssignment()(cosines).q[0, 0]
    raised = [BidirectionalAssignment(mass_exponent=exponent)(cosines).r[0, 0] for exponent in (0.0, 0.5, 1.0)]
    assert raised[0][2] > 0.3  # as likely as the token's own class
    assert raised[0][2] > raised[1][2] > raised[2][2]
    torch.testing.assert_close(raised[2], q, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_masked_tokens_receive_no_mass_and_change_nothing(exponent):
    cosines = random_cosines(2, 6, 3)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    other = cosines.clone()
    other[1, 4:] = 0.99
    first, second = (BidirectionalAssignment(mass_exponent=exponent)(c, mask) for c in (cosines, other))
    masses = first.q[mask].sum(0) ** exponent
    torch.testing.assert_close(first.log_mass.exp().sum((0, 1)), masses / masses.mean())
    assert first.log_mass.exp()[1, 4:].eq(0).all()
    torch.testing.assert_close(first.r[mask], second.r[mask])


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 1), (1, 1, 4), (2, 5, 4)])
def test_rows_sum_to_one_for_any_size(assignment, shape):
    assigned = assignment(random_cosines(*shape))
    for rows in (assigned.q, assigned.r, assigned.consensus()):
        torch.testing.assert_close(rows.sum(-1), torch.ones(shape[:2], dtype=torch.float64))


SHARP = [BidirectionalAssignment(0.005), BidirectionalAssignment(0.005, 0.5), PublishedAssignment(0.005, 0.005)]


@pytest.mark.parametrize("assignment", SHARP)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masses_that_underflow_leave_values_and_gradients_finite(assignment, dtype):
    # the third class is far from every token
    cosines = torch.tensor([[[1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, -1.0]]]).to(dtype).requires_grad_()
    assigned = assignment(cosines)
    assert assigned.log_r.dtype == torch.float32 and assigned.log_r.isfinite().all()
    ((assigned.q - assigned.r) * (assigned.log_q - assigned.log_r)).sum().backward()
    assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("assignment", [BidirectionalAssignment(), HALF])
def test_a_batch_without_any_valid_token_is_finite(assignment):
    assigned = assignment(random_cosines(1, 4, 3).float(), torch.zeros(1, 4, dtype=torch.bool))
    assert assigned.r.isfinite().all() and assigned.log_mass.exp().sum() == 0


@pytest.mark.parametrize("make", [lambda: BidirectionalAssignment(tau=0), lambda: PublishedAssignment(tau_p2e=-1.0)])
def test_temperatures_must_be_positive(make):
    with pytest.raises(ValueError, match="temperature must be positive"):
        make()


@pytest.mark.parametrize("exponent", [-0.1, 1.5, float("nan")])
def test_the_exponent_of_the_masses_lies_between_none_and_all(exponent):
    with pytest.raises(ValueError, match="mass_exponent"):
        BidirectionalAssignment(mass_exponent=exponent)
