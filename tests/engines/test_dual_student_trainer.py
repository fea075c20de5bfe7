# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import logging
from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.handlers import StatsHandler, TensorBoardStatsHandler, from_engine
from monai.metrics import compute_dice
from support.trainer import cps, trainer, volume, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scdl_components.engines import DualStudentTrainer
from scdl_components.errors import InputError
from scdl_components.handlers import RunEvents, TrainingCheckpoint
from scdl_components.handlers.resume import Start
from scdl_components.hosts import CPS, Batch, Host, HostOutput
from scdl_components.hosts.base import hard_labels
from scdl_components.losses import CDBALoss, GACELoss, LossTerm, SACLoss, SCDLLoss, gaussian_ramp
from scdl_components.memory import MemoryShortageError
from scdl_components.networks import WithFeatures
from scdl_components.networks.features import StudentOutput
from scdl_components.proxies import ProxyBank


def dice_of_unseen(student: torch.nn.Module) -> float:
    case = volume(9)
    with torch.no_grad():
        return compute_dice(student(case["image"][None]).argmax(1, keepdim=True), case["label"][None], num_classes=2)[
            0, 1
        ]


@pytest.mark.trains
def test_both_students_learn_and_every_term_is_reported():
    # two layers, which learn the box to a Dice of 0.99 on any processor; a V-Net's batch norm over two crops is all noise
    torch.manual_seed(0)
    layers = torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(8, 2, 1)
    engine = trainer(max_epochs=20, student=torch.nn.Sequential(*layers), rate=0.1)
    losses = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output[0]["scalars"]["loss"]))
    )
    engine.run()
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])  # reached: 0.01
    assert (
        min(dice_of_unseen(s) for s in engine.network.students) > 0.9
    )  # reached: 0.999; by an untrained one at most 0.8
    scalars = engine.state.output[0]["scalars"]
    assert {"loss", "learning_rate", "supervised/ga_ce", "supervised/ga_dice", "cps", "weight/cps"} <= set(scalars)
    total = sum(float(scalars[k.removeprefix("weight/")]) * v for k, v in scalars.items() if k.startswith("weight/"))
    assert float(scalars["loss"]) == pytest.approx(total, rel=1e-5)
    # t = 59 / 60 in the last iteration
    assert scalars["weight/cps"] == pytest.approx(0.1 * gaussian_ramp(59 / 60))


def test_cps_teaches_each_student_the_other_ones_labels():
    outputs = [torch.tensor([[5.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 5.0], [0.0, 0.0]])]
    logits = [o.reshape(1, 2, 2, 1, 1).requires_grad_() for o in outputs]
    students = [lambda _, values=values: StudentOutput(values, {}) for values in logits]
    nothing = torch.zeros(0, 1, 2, 1, 1)
    CPS({}, GACELoss(top_k=100))(students, Batch(nothing, nothing, 0, 1)).terms["cps"].value.backward()
    # voxel 0 is class 0 to the first student, voxel 1 class 0 to the second: each is pulled to the other's class
    assert logits[1].grad[0, 0, 0] < 0 < logits[1].grad[0, 1, 0]
    assert logits[0].grad[0, 0, 1] < 0 < logits[0].grad[0, 1, 1]


@pytest.mark.parametrize("num_classes", [2, 7, 255, 300])
def test_hard_labels_are_those_of_argmax(num_classes):
    torch.manual_seed(0)
    logits = torch.randint(0, 4, (2, num_classes, 5, 6, 4)).float()  # many equal ones
    expected = torch.from_numpy(logits.numpy().argmax(axis=1))[:, None]
    assert torch.equal(hard_labels(logits), expected)


def test_hard_labels_of_nan_are_classes():
    labels = hard_labels(torch.full((1, 3, 2), float("nan")))
    assert labels.min() >= 0 and labels.max() < 3


def test_cps_of_one_student_is_refused():
    with pytest.raises(ValueError, match="two students"):
        cps()([lambda images: images], Batch(torch.zeros(1), torch.zeros(1), 0, 1))


class OfFeatures(Host):
    """A host with a parameter of its own that looks at features alone."""

    feature_modules = ("block_nine",)

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, students, batch):
        features = [student(batch.images).features for student in students]
        self.seen = [found["block_nine"].shape for found in features]
        value = self.scale * sum(found["block_nine"].mean() for found in features)
        return HostOutput({"features": LossTerm(value, 1.0)}, features)


def test_features_of_named_modules_reach_the_host():
    host = OfFeatures()
    engine = trainer(max_epochs=1, host=host)
    engine.run()
    assert host.seen == [(2, 2, 16, 16, 16)] * 2
    assert host.scale.item() != 1
    assert engine.network_with_loss.students[0].last == {}


class WithoutLosses(Host):
    """A host that trains nothing itself."""

    def forward(self, students, batch):
        return HostOutput({}, [student(batch.images).features for student in students])


def test_scdl_alone_trains_every_student_up_to_its_features():
    bank = ProxyBank(2, 2, embed_dim=8)
    scdl = SCDLLoss(CDBALoss(bank), SACLoss(bank))
    engine = trainer(max_epochs=1, host=WithoutLosses(), scdl=scdl)
    gradients = []

    @engine.on(Events.ITERATION_COMPLETED(once=1))
    def record(engine):
        for student in engine.network.students:
            for name in ("block_one", "block_nine"):
                gradients.append(sum(float(p.grad.abs().sum()) for p in student.get_submodule(name).parameters()))

    engine.run()
    assert len(gradients) == 4 and all(gradient > 0 for gradient in gradients)


def test_features_are_those_of_training_alone_and_copies_have_their_own():
    engine = trainer(max_epochs=1, host=OfFeatures())
    image = torch.rand(1, 1, 16, 16, 16)
    engine.network.eval()(image)
    deepcopy(engine.network).eval()(image)
    assert [s.last for s in engine.network_with_loss.students] == [{}, {}]


def test_unknown_feature_module_is_named_with_those_there_are():
    host = OfFeatures()
    host.feature_modules = ("block_ten",)
    with pytest.raises(ValueError, match="'block_ten'.*block_nine"):
        trainer(max_epochs=1, host=host)


def test_resumed_training_ends_with_the_same_weights(tmp_path):
    def checkpointed(folder, resume=""):
        engine = trainer(max_epochs=4)
        objects = {"model": engine.network, "loss": engine.loss_function, "optimizer": engine.optimizer}
        TrainingCheckpoint(str(tmp_path / folder), objects, interval=5, n_saved=3, start=Start(resume)).attach(engine)
        return engine

    whole = checkpointed("whole")
    whole.run()
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == [f"checkpoint_{i}.pt" for i in (10, 12, 5)]
    resumed = checkpointed("resumed", resume=str(tmp_path / "whole" / "checkpoint_5.pt"))
    resumed.run()
    assert resumed.state.iteration == 12
    assert torch.equal(weights(whole), weights(resumed))


def test_runs_of_an_epoch_each_follow_the_plan_of_all():
    """As in federated learning: the ramp of the fourth epoch is that of a training in one go."""
    whole, parts = trainer(max_epochs=4), trainer(max_epochs=1, num_iterations=12)
    whole.run()
    for epoch in range(4):
        parts.state.max_epochs = epoch + 1
        parts.run()
    assert torch.equal(weights(whole), weights(parts))
    parts.state.max_epochs = 5
    with pytest.raises(InputError, match="all 12 planned iterations are done"):
        parts.run()


def test_missing_checkpoint_is_named(tmp_path):
    engine = trainer()
    TrainingCheckpoint(str(tmp_path), {"model": engine.network}, interval=5, start=Start("nowhere.pt")).attach(engine)
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        engine.run()


class SometimesNotFinite(Host):
    """A loss that is NaN, or finite with an infinite gradient, in the named iterations."""

    def __init__(self, kinds: dict[int, str]) -> None:
        super().__init__()
        self.kinds = kinds

    def forward(self, students, batch):
        kind = self.kinds.get(batch.iteration + 1)
        value = sum(student(batch.images).logits.square().mean() for student in students)
        if kind == "loss":
            value = value * float("nan")
        elif kind == "gradient":
            value = (value - value.detach()).sqrt()  # 0, whose slope there is infinite
        return HostOutput({"loss of logits": LossTerm(value, 1.0)}, [])


AMP = {
    "float32": {},
    "bfloat16": {"amp": True, "amp_kwargs": {"dtype": torch.bfloat16}},
    "float16": {"amp": True, "amp_kwargs": {"dtype": torch.float16}},
}


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("amp", AMP)
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_is_not_finite_changes_nothing(kind, amp, fused):
    """Parameters, momentum and batch norm's running statistics; in the first iteration, too."""
    engine = trainer(max_epochs=4, host=SometimesNotFinite({1: kind, 5: kind, 6: kind}), **AMP[amp])
    engine.optimizer = torch.optim.SGD(
        engine.network.parameters(), lr=1e-3, momentum=0.9, weight_decay=0.1, fused=fused
    )
    finite = []

    def state() -> dict[str, torch.Tensor]:
        momentum = {
            f"momentum/{i}": engine.optimizer.state[p].get("momentum_buffer", torch.zeros_like(p))
            for i, p in enumerate(engine.network.parameters())
        }
        return {name: value.clone() for name, value in (engine.network.state_dict() | momentum).items()}

    states = [state()]
    engine.add_event_handler(Events.STARTED, use_scaler_of_the_cpu, 2.0**4)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(state()))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: finite.append(bool(engine.state.output[0]["finite"])))
    engine.run()
    bad = {i for i, ok in enumerate(finite, 1) if not ok}
    # PyTorch's bfloat16 gradients of patches as small as these hold some memory's former content on a CPU
    assert bad == {1, 5, 6} if amp != "bfloat16" else {1, 5, 6} <= bad
    for ok, before, after in zip(finite, states, states[1:]):
        assert any(not torch.equal(value, after[name]) for name, value in before.items()) is ok
    assert all(value.isfinite().all() for value in states[-1].values())


def use_scaler_of_the_cpu(engine: DualStudentTrainer, scale: float) -> None:
    """MONAI makes one for CUDA, which does nothing here."""
    engine.scaler = torch.amp.GradScaler("cpu", init_scale=scale) if engine.amp else None


def test_the_end_of_a_run_is_told_whatever_ends_it():
    ends = []
    for error in (None, ValueError("a handler's")):
        engine = trainer(max_epochs=1)
        engine.add_event_handler(RunEvents.ENDED, ends.append, error)
        engine.add_event_handler(Events.ITERATION_STARTED, fail, error)
        with pytest.raises(ValueError, match="a handler's") if error else nullcontext():
            engine.run()
    assert ends[0] is None and isinstance(ends[1], ValueError)


def fail(error: Exception | None) -> None:
    if error is not None:
        raise error


def test_the_output_is_a_dict_for_each_sample():
    engine = trainer(max_epochs=1)
    seen = []
    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, lambda: seen.append(engine.state.output))
    engine.run()
    labeled, unlabeled = seen[0]
    assert labeled["image"].shape == labeled["label"].shape == unlabeled["image"].shape == (1, 16, 16, 16)
    assert "label" not in unlabeled and labeled["loss"] is unlabeled["loss"]
    assert seen[-1] is engine.state.output


def test_monais_handlers_work_as_they_come(tmp_path, caplog):
    loss = from_engine(["loss"], first=True)
    handlers = [
        StatsHandler(output_transform=loss, tag_name="train_loss"),
        TensorBoardStatsHandler(log_dir=str(tmp_path), output_transform=loss, tag_name="train_loss"),
    ]
    logging.getLogger("monai.handlers.StatsHandler").addHandler(caplog.handler)  # which hands nothing on
    trainer(max_epochs=1, handlers=handlers).run()
    logged = [float(r.getMessage().split("train_loss: ")[1]) for r in caplog.records if "train_loss" in r.getMessage()]
    curve = [e.value for e in EventAccumulator(str(tmp_path)).Reload().Scalars("train_loss")]
    assert len(logged) == 3 and logged == pytest.approx(curve, abs=1e-4)


def test_memory_that_runs_out_is_told_with_the_keys_that_help():
    engine = trainer(max_epochs=1)
    engine.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda: torch.empty(2**60))
    with pytest.raises(MemoryShortageError) as raised:
        engine.run()
    message = str(raised.value)
    assert "DefaultCPUAllocator" in message
    assert all(
        key in message
        for key in ("--roi_size", "--labeled_batch_size", "--num_filters", "--sw_batch_size", "--cache_rate")
    )


@pytest.mark.parametrize(("optimizer", "reduction"), [(torch.optim.SGD, "class"), (torch.optim.AdamW, "token")])
def test_an_iteration_never_asks_the_device_for_a_value(optimizer, reduction, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # knows no "meta"
    # tensors on "meta" have shapes alone, so that whatever waits for a value of the device fails there
    bank = ProxyBank(2, 2, embed_dim=8)
    scdl = SCDLLoss(CDBALoss(bank, reduction=reduction), SACLoss(bank))
    engine = trainer(max_epochs=1, scdl=scdl, device="meta")
    engine.optimizer = optimizer([*engine.network.parameters(), *engine.loss_function.parameters()], lr=0.01)
    engine.run()
    assert engine.state.iteration == 3
    assert engine.state.output[0]["finite"].is_meta and engine.state.output[0]["scalars"]["loss"].is_meta
    with pytest.raises(RuntimeError, match="meta"):
        engine.state.output[0]["finite"].item()


def test_a_compiled_network_gives_the_same_output_and_features():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.ReLU(), torch.nn.Conv3d(2, 2, 1))
    plain, compiled = WithFeatures(network, ["1"]), torch.compile(WithFeatures(network, ["1"]))
    for seed in range(2):
        torch.manual_seed(seed)
        image = torch.rand(1, 1, 8, 8, 8)
        (output, features), (expected, expected_features) = compiled(image), plain(image)
        torch.testing.assert_close([output, features["1"]], [expected, expected_features["1"]])
    (output.sum() + features["1"].sum()).backward()
    assert network[0].weight.grad.abs().sum() > 0


def test_compile_is_asked_for_each_student_and_leaves_the_network_as_it_is():
    engine = trainer(compile=True, compile_kwargs={"dynamic": False})
    assert [type(student).__name__ for student in engine.network_with_loss.students] == ["OptimizedModule"] * 2
    assert list(engine.network.state_dict()) == list(trainer().network.state_dict())


class Overflow(Host):
    """A loss whose gradient is infinite in float16 while its scale is over 2^10."""

    def forward(self, students, batch):
        loss = sum(student(batch.images).logits.float().mean() for student in students)
        return HostOutput({"loss": LossTerm((loss.half() * 64.0).float(), 1.0)}, [])


def test_float16_finds_its_scale():
    engine = trainer(max_epochs=4, host=Overflow(), amp=True, amp_kwargs={"dtype": torch.float16})
    scales, finite, states = [], [], [weights(engine)]

    def look():
        scales.append(engine.scaler.get_scale())
        finite.append(bool(engine.state.output[0]["finite"]))
        states.append(weights(engine))

    engine.add_event_handler(Events.STARTED, use_scaler_of_the_cpu, 2.0**13)
    engine.add_event_handler(Events.ITERATION_COMPLETED, look)
    engine.run()
    assert not finite[0] and any(finite)
    assert scales == [2.0 ** (13 - finite[: i + 1].count(False)) for i in range(12)]
    changed = [not torch.equal(a, b) for a, b in zip(states, states[1:])]
    assert changed == finite
