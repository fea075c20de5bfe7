# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SCDL as a term of training: which gradients it gives, how it is ramped, and that its state is kept."""

import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose, RandSpatialCropd

from scdl_components.data.two_stream import TwoStreamLoader
from scdl_components.engines import DualStudentTrainer
from scdl_components.handlers import TrainingCheckpoint
from scdl_components.handlers.resume import Start
from scdl_components.hosts import Supervised, TrainingLoss
from scdl_components.losses import CDBALoss, GADiceLoss, SACLoss, SCDLLoss, gaussian_ramp
from scdl_components.losses.cdba import REDUCTIONS
from scdl_components.losses.terms import total
from scdl_components.networks import DualStudent, VNet
from scdl_components.proxies import ProxyBank

NUM_CLASSES = 3


def inputs(progress=0.5, num_unlabeled=1) -> tuple[list[torch.Tensor], torch.Tensor, float]:
    """Features of two students, one label, and the fraction of training done."""
    torch.manual_seed(0)
    features = [torch.randn(1 + num_unlabeled, 8, 16, 16, 16, requires_grad=True) for _ in range(2)]
    return features, torch.randint(0, NUM_CLASSES, (1, 1, 16, 16, 16)), progress


def loss(**kwargs) -> SCDLLoss:
    torch.manual_seed(0)
    bank = ProxyBank(8, NUM_CLASSES, embed_dim=16, num_samples=4)
    return SCDLLoss(CDBALoss(bank), SACLoss(bank), **kwargs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_it_is_cdba_and_sac_in_value_and_gradient(reduction):
    torch.manual_seed(0)
    bank = ProxyBank(8, NUM_CLASSES, dropout=0.0).double()
    cdba, sac = CDBALoss(bank, reduction=reduction), SACLoss(bank)
    label = torch.randint(0, NUM_CLASSES, (2, 1, 16, 16, 16))
    features = torch.randn(3, 8, 16, 16, 16, dtype=torch.float64, requires_grad=True)
    variables = [features, bank.proxies, *bank.encoder.parameters()]
    torch.manual_seed(1)
    expected = cdba(features[:2], label) + sac(features[:2], label)
    torch.manual_seed(1)  # one draw of the classes' samples for all tokens
    expected = expected + 0.1 * gaussian_ramp(0.4) * cdba(features[2:])
    torch.manual_seed(1)
    found = total(SCDLLoss(cdba, sac, students=1)([features], label, 0.4))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, variables), torch.autograd.grad(expected, variables))


def test_losses_of_two_banks_are_refused():
    with pytest.raises(ValueError, match="one bank"):
        SCDLLoss(CDBALoss(ProxyBank(8, NUM_CLASSES)), SACLoss(ProxyBank(8, NUM_CLASSES)))


def test_every_part_of_both_students_is_trained():
    scdl, given = loss(), inputs()
    total(scdl(*given)).backward()
    for bank, features in zip(scdl.banks, given[0]):
        assert bank.proxies.grad.abs().sum() > 0
        assert all(p.grad.abs().sum() > 0 for p in bank.encoder.parameters() if p.ndim == 2)
        # labeled and unlabeled features alike
        assert all(f.abs().sum() > 0 for f in features.grad)


def test_unlabeled_tokens_are_ramped_and_can_be_left_out():
    ramped = loss(unlabeled_weight=2.0)
    for progress in (0.0, 0.5, 1.0):
        terms = ramped(*inputs(progress))
        ratio = terms["scdl/unlabeled_p2e"].weight / terms["scdl/p2e"].weight
        assert ratio == pytest.approx(2 * gaussian_ramp(progress))
    given = inputs()
    without = loss(unlabeled_weight=0.0)(*given)
    assert not any("unlabeled" in name for name in without)
    total(without).backward()
    assert given[0][0].grad[1].abs().sum() == 0


def test_supervised_batches_have_no_unlabeled_terms():
    assert not any("unlabeled" in name for name in loss()(*inputs(num_unlabeled=0)))


def test_another_number_of_students_is_refused():
    features, label, progress = inputs()
    with pytest.raises(ValueError, match="2 proxy banks and got features of 1 students"):
        loss()(features[:1], label, progress)


def two_iterations() -> DualStudentTrainer:
    crop = RandSpatialCropd(["image", "label"], (32, 32, 32), random_size=False, allow_missing_keys=True)
    volume = {"image": torch.randn(1, 40, 40, 40), "label": torch.randint(0, NUM_CLASSES, (1, 40, 40, 40))}
    labeled = Dataset([volume], Compose([crop]))
    unlabeled = Dataset([{"image": volume["image"]}] * 2, Compose([crop]))
    students = DualStudent(VNet(1, NUM_CLASSES, num_filters=2))
    bank = ProxyBank(2, NUM_CLASSES, embed_dim=16, num_samples=4)
    scdl = SCDLLoss(CDBALoss(bank), SACLoss(bank), weight=1.0)
    loss = TrainingLoss(Supervised({"ga_dice": GADiceLoss()}), scdl)
    return DualStudentTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=TwoStreamLoader(labeled, unlabeled, labeled_batch_size=1, unlabeled_batch_size=1),
        network=students,
        optimizer=torch.optim.SGD(list(students.parameters()) + list(loss.parameters()), lr=0.01, momentum=0.9),
        loss_function=loss,
    )


def test_proxies_encoder_and_their_momentum_are_restored(tmp_path):
    def checkpointed(resume=""):
        torch.manual_seed(0)
        trainer = two_iterations()
        objects = {"model": trainer.network, "loss": trainer.loss_function, "optimizer": trainer.optimizer}
        TrainingCheckpoint(str(tmp_path), objects, interval=2, start=Start(resume)).attach(trainer)
        return trainer

    first = checkpointed()
    first.run()
    second = checkpointed(resume=str(tmp_path / "checkpoint_2.pt"))
    second.run()  # finished already: restores and does no further iteration
    restored = second.loss_function.state_dict()
    assert "scdl.banks.1.proxies" in restored and "scdl.banks.0.encoder.0.weight" in restored
    for name, value in first.loss_function.state_dict().items():
        assert torch.equal(value, restored[name]), name
    momenta = [opt.state_dict()["state"] for opt in (first.optimizer, second.optimizer)]
    assert all(torch.equal(momenta[0][i]["momentum_buffer"], momenta[1][i]["momentum_buffer"]) for i in momenta[0])
