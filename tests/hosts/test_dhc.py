# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from contextlib import nullcontext
from pathlib import Path

import monai
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.transforms import Compose, RandSpatialCropd
from support.trainer import trainer, volume, weights

from scdl_components.data import CaseDataset, label_counts
from scdl_components.errors import SettingError
from scdl_components.handlers import TrainingCheckpoint
from scdl_components.handlers.resume import Start
from scdl_components.hosts import DHC, Batch
from scdl_components.hosts.dhc import DifficultyWeights, DistributionWeights
from scdl_components.losses import DiceCELoss, GACELoss, GADiceLoss
from scdl_components.networks.features import StudentOutput

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "dhc.npz")
COUNTS = torch.tensor([12000, 1800])


def tensor(name: str) -> torch.Tensor:
    return torch.from_numpy(REFERENCE[name])


def dhc(supervised=None, cps_loss=None, **keys) -> DHC:
    losses = supervised or {"dice_ce": DiceCELoss()}
    return DHC(losses, cps_loss or DiceCELoss(lambda_dice=0), 2, label_counts=COUNTS, **keys)


def class_weights(engine) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in engine.loss_function.host.state_dict().items()}


def test_distribution_weights_are_the_published_ones():
    counts = torch.bincount(tensor("dist/label").flatten().long(), minlength=5)
    module = DistributionWeights(5, counts)
    torch.testing.assert_close(module.weights, tensor("dist/initial"), rtol=0, atol=1e-9)
    for iteration in range(4):
        found = module(tensor(f"dist/hard_labels_{iteration}").long())
        torch.testing.assert_close(found, tensor(f"dist/weights_{iteration}"), rtol=0, atol=1e-9)


def test_difficulty_weights_are_the_published_ones():
    module, label = DifficultyWeights(5), tensor("diff/label")
    for iteration in range(6):
        found = module(tensor(f"diff/hard_labels_{iteration}").long(), label)
        torch.testing.assert_close(found, tensor(f"diff/weights_{iteration}"), rtol=0, atol=1e-6)


def test_each_student_learns_with_its_own_weights_and_the_other_ones_labels():
    torch.manual_seed(0)
    logits = [torch.randn(3, 2, 4, 4, 4, dtype=torch.float64) for _ in range(2)]
    label = torch.randint(0, 2, (1, 1, 4, 4, 4))
    host, students = dhc(), [lambda _, values=values: StudentOutput(values, {}) for values in logits]
    terms, _, curves = host(students, Batch(torch.zeros(3), label, 30, 100))
    hard = [values.argmax(1, keepdim=True) for values in logits]
    # of the labeled half against its label, and of the unlabeled half alone
    expected = DifficultyWeights(2)(hard[0][:1], label), DistributionWeights(2, COUNTS)(hard[1][1:])
    shown = [[curves[f"class_weight/student_{i}/{c}"] for c in range(2)] for i in range(2)]
    torch.testing.assert_close([torch.stack(values) for values in shown], list(expected))
    supervised = sum(DiceCELoss()(values[:1], label, w) for values, w in zip(logits, expected))
    torch.testing.assert_close(terms["supervised/dice_ce"].value, supervised)
    cps = (DiceCELoss(lambda_dice=0)(logits[i], hard[1 - i], expected[i]) for i in range(2))
    torch.testing.assert_close(terms["cps"].value, sum(cps))
    assert terms["cps"].weight == pytest.approx(0.1 * np.exp(-5 * 0.7**2))


def test_without_unlabeled_voxels_or_a_class_that_is_rare_weights_are_numbers():
    module = DistributionWeights(3, torch.tensor([5, 5, 5]))
    assert module.weights.tolist() == [0, 0, 0]
    module = DistributionWeights(3, torch.tensor([80, 20, 1]))
    before = module.weights.clone()
    assert torch.equal(module(torch.zeros(0, 1, 4, 4, 4, dtype=torch.long)), before)
    assert DistributionWeights(3).weights.tolist() == [3, 3, 3]  # until a checkpoint brings others


@pytest.mark.trains
@pytest.mark.parametrize("ga", [False, True])
def test_a_resumed_training_has_the_weights_of_one_that_ran_through(tmp_path, ga):
    def checkpointed(folder: str, resume: str = "", **keys):
        losses = {"ga_ce": GACELoss(), "ga_dice": GADiceLoss()} if ga else None
        engine = trainer(max_epochs=4, host=dhc(losses, GACELoss(top_k=100) if ga else None, **keys))
        objects = {"model": engine.network, "loss": engine.loss_function, "optimizer": engine.optimizer}
        TrainingCheckpoint(str(tmp_path / folder), objects, interval=5, n_saved=3, start=Start(resume)).attach(engine)
        return engine

    whole = checkpointed("whole")
    whole.run()
    resumed = checkpointed("resumed", str(tmp_path / "whole" / "checkpoint_5.pt"))
    resumed.loss_function.host.distribution.weights.fill_(torch.nan)  # the checkpoint's count, not these
    resumed.run()
    assert torch.equal(weights(whole), weights(resumed))
    assert len(class_weights(whole)) == 5
    for name, value in class_weights(whole).items():
        assert torch.equal(value, class_weights(resumed)[name]) and value.dtype == torch.float64, name
    assert not torch.equal(whole.loss_function.host.distribution.weights, dhc().distribution.weights)


def test_a_step_that_is_not_finite_leaves_the_class_weights():
    class Bad(DiceCELoss):
        def forward(self, input, target, class_weights=None):
            bad = engine.state.iteration in (2, 3)
            return super().forward(input, target, class_weights) * (float("nan") if bad else 1)

    engine = trainer(max_epochs=2, host=dhc({"dice_ce": Bad()}))
    states = [class_weights(engine)]
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(class_weights(engine)))
    engine.run()
    for name in states[0]:
        assert torch.equal(states[1][name], states[2][name]) and torch.equal(states[1][name], states[3][name]), name
    for name in ("difficulty.last_dice", "distribution.weights"):
        assert not torch.equal(states[0][name], states[1][name]), name
        assert not torch.equal(states[3][name], states[4][name]), name


@pytest.mark.parametrize("losses", [None, {"ga_ce": GACELoss(), "ga_dice": GADiceLoss()}])
def test_an_iteration_never_asks_the_device_for_a_value(losses, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # knows no "meta"
    engine = trainer(max_epochs=1, host=dhc(losses), device="meta")
    engine.run()
    assert engine.state.iteration == 3
    assert engine.state.output[0]["scalars"]["class_weight/student_1/0"].is_meta


def test_losses_without_class_weights_are_refused_by_name():
    with pytest.raises(SettingError, match="DiceLoss takes no class_weights.*scdl_components.losses"):
        dhc({"dice": monai.losses.DiceLoss()})


def test_one_student_is_refused():
    with pytest.raises(ValueError, match="two students, not 1"):
        dhc()([lambda images: images], Batch(torch.zeros(1), torch.zeros(1), 0, 1))


@pytest.mark.parametrize("cache_rate", [0, 0.5, 1])
def test_labels_are_counted_before_the_crop(cache_rate):
    volumes = [volume(seed) for seed in range(3)]
    crop = RandSpatialCropd(["image", "label"], (8, 8, 8), random_size=False)
    dataset = CaseDataset(volumes, Compose([crop]), cache_rate=cache_rate)
    inside = sum(int(each["label"].sum()) for each in volumes)
    assert label_counts(dataset, 3).tolist() == [3 * 24**3 - inside, inside, 0]
