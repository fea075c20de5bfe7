# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MagicNet against numbers of the published code, float64; two volumes in eight cubes."""

from types import SimpleNamespace

import pytest
import torch
from support.magicnet import published, published_host, sampled, tensor

from scdl_components.hosts import Batch
from scdl_components.hosts.base import hard_labels
from scdl_components.hosts.cubes import exchange
from scdl_components.hosts.magicnet import Draws, blend, blend_weights
from scdl_components.losses import batch_dice
from scdl_components.networks import WithFeatures

IMAGES = tensor("image").double() / 16
LABEL = tensor("label")[:, None]
DRAWS = Draws(tensor("cross/order"), tensor("teacher_noise").double() / 64)
COUNTS = tensor("blend/class_counts")


def close(found: torch.Tensor, name: str) -> None:
    torch.testing.assert_close(found.detach(), tensor(name), rtol=1e-6, atol=1e-6)


class Recording(WithFeatures):
    """Keeps what it returned."""

    def forward(self, images):
        self.outputs = [*getattr(self, "outputs", []), super().forward(images)]
        return self.outputs[-1]


@pytest.fixture(scope="module")
def published_run() -> SimpleNamespace:
    """One iteration whose pseudo-labels are blended, with gradients."""
    network, host = published_host()
    host.class_counts.copy_(COUNTS)
    student = Recording(network.students[0], host.feature_modules)
    host.draw = lambda *_: DRAWS
    output = host([student], Batch(IMAGES, LABEL, 201, 201))  # at the end of the ramp
    total = sum(value * weight for value, weight in output.terms.values())
    total.backward()
    with torch.no_grad():
        teacher = host.teacher(IMAGES[1:] + DRAWS.noise)
    return SimpleNamespace(**locals())


def test_network_partitions_and_logits(published_run):
    plain, mixed, _, _ = published_run.student.outputs
    (head,), order = published_run.host.head, DRAWS.order
    close(sampled(plain.logits), "logits")
    close(sampled(plain.features["block_nine"]), "embedding")
    close(sampled(exchange(IMAGES, order)), "cross/mixed")
    close(sampled(head(exchange(mixed.features["block_nine"], order.argsort(0)))), "cross/logits")
    close(sampled(head(torch.cat(published_run.host.seen))), "within/logits")


def test_pseudo_labels_are_blended_by_the_teachers_class(published_run):
    teacher, host = published_run.teacher, published_run.host
    close(sampled(teacher), "teacher_logits")
    classes = hard_labels(teacher)
    assert torch.equal(classes[:, 0], tensor("blend/teacher_class").long())
    blended = hard_labels(blend(teacher, host.head[0](host.seen[0]), blend_weights(COUNTS)[classes]))
    assert torch.equal(blended[:, 0], tensor("blend/class").long())
    assert torch.equal(host.next_counts, torch.bincount(blended.flatten(), minlength=5).double())


TERMS = {f"supervised/{name}": name for name in ("ce", "dice", "cross_dice", "within_dice")}
TERMS |= {name: name for name in ("location", "consistency")}


def test_every_loss_and_the_total(published_run):
    terms = published_run.output.terms
    assert terms.keys() == TERMS.keys()
    for term, name in TERMS.items():
        close(terms[term].value, f"loss/{name}")
    close(sum(v * w for name, (v, w) in terms.items() if name.startswith("supervised")), "loss/supervised")
    close(published_run.total, "loss/total")


def test_gradients(published_run):
    host, student = published_run.host, published_run.network.students[0]
    for name, gradient in published("grad/").items():
        of_head = name.startswith("fc_layer.fc_layer.")
        name = name.removeprefix("encoder.").removeprefix("decoder.").removeprefix("fc_layer.fc_layer.")
        found = (host.location_head if of_head else student).get_parameter(name).grad
        torch.testing.assert_close(found, gradient, rtol=1e-6, atol=1e-6)
    assert all(parameter.grad is None for parameter in host.teacher.parameters())


def test_without_blending_the_teacher_labels_alone(published_run):
    host, (_, mixed, *_) = published_run.host, published_run.student.outputs
    with torch.no_grad():
        label, curves = host.pseudo_label(IMAGES[1:] + DRAWS.noise, None, iteration=100)
        cross = host.head[0](exchange(mixed.features["block_nine"], DRAWS.order.argsort(0)))
    assert curves["pseudo_label_from_teacher"] == 1
    close(batch_dice(cross[1:], label), "loss/consistency_teacher_only")


@pytest.mark.parametrize("iteration", [3, 500])
def test_the_teachers_update(iteration):
    network, host = published_host()
    host.after_step(network, Batch(IMAGES, LABEL, iteration, 1000), torch.tensor(True))
    close(host.teacher.out_conv.weight, f"teacher_update_{iteration}/out_conv.weight")
