# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MagicNet in training: two processes, resume, steps that are not finite, no waiting, what it refuses."""

from contextlib import nullcontext

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.networks.nets import SegResNet
from monai.transforms import Compose
from support.magicnet import shared_iteration, small_host
from support.ranks import run_ranks

from scdl_components.data.two_stream import TwoStreamLoader
from scdl_components.engines import DualStudentTrainer
from scdl_components.errors import InputError
from scdl_components.handlers import IterationSeed, TrainingCheckpoint
from scdl_components.handlers.resume import Start
from scdl_components.hosts import Batch, TrainingLoss
from scdl_components.networks import DualStudent, VNet, WithFeatures


def volume(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 16, 16, 16, generator=generator)
    return {"image": image, "label": (image > 0).float()}


def trainer(handlers=(), device="cpu") -> DualStudentTrainer:
    """Eight iterations, the last five with blended pseudo-labels."""
    torch.manual_seed(0)
    network, host = (module.to(device) for module in small_host())
    loss = TrainingLoss(host)
    trained = [p for p in (*network.parameters(), *loss.parameters()) if p.requires_grad]
    labeled = Dataset([volume(0), volume(1)], Compose([]))
    unlabeled = Dataset([{"image": volume(seed)["image"]} for seed in (2, 3, 4, 5)], Compose([]))
    return DualStudentTrainer(
        device=device,
        max_epochs=4,
        train_data_loader=TwoStreamLoader(labeled, unlabeled, labeled_batch_size=2, unlabeled_batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(trained, lr=0.1, momentum=0.9),
        loss_function=loss,
        train_handlers=[IterationSeed(0), *handlers],
    )


def state(engine: DualStudentTrainer) -> dict[str, torch.Tensor]:
    both = {**engine.network.state_dict(), **engine.loss_function.state_dict()}
    return {name: value.clone() for name, value in both.items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_resume_is_exact(tmp_path):
    def checkpointed(folder, resume=""):
        engine = trainer()
        objects = {"model": engine.network, "loss": engine.loss_function, "optimizer": engine.optimizer}
        TrainingCheckpoint(str(tmp_path / folder), objects, interval=3, n_saved=3, start=Start(resume)).attach(engine)
        return engine

    whole, resumed = checkpointed("whole"), checkpointed("resumed", str(tmp_path / "whole" / "checkpoint_3.pt"))
    start = state(whole)
    whole.run()
    resumed.run()
    assert resumed.state.iteration == whole.state.iteration == 8
    assert not changed(state(whole), state(resumed))
    moved = changed(start, state(whole))
    assert {"host.class_counts", "host.next_counts", "host.teacher.0.weight", "host.location_head.0.weight"} <= moved


def test_a_step_that_is_not_finite_leaves_teacher_and_counts():
    engine, states = trainer(), []

    def spoil():
        if engine.state.iteration == 5:  # the one that renews the counts
            engine.state.batch["unlabeled"]["image"][0].fill_(torch.nan)

    engine.add_event_handler(Events.ITERATION_STARTED, spoil)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(state(engine)))
    engine.run()
    for iteration, (before, after) in enumerate(zip(states, states[1:]), 2):
        if iteration == 5:
            assert not changed(before, after)
        else:
            assert {"host.teacher.0.weight", "host.next_counts", "students.0.0.weight"} <= changed(before, after)


def test_an_iteration_never_asks_the_device_for_a_value(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # knows no "meta"
    engine = trainer(device="meta")
    engine.run()
    assert engine.state.iteration == 8
    assert {"blend_weight/1", "pseudo_label_from_teacher", "location"} <= engine.state.output[0]["scalars"].keys()


def test_the_first_steps_are_a_true_average():
    network, host = small_host()
    other = small_host()[0]
    batch = Batch(torch.zeros(0), torch.zeros(0), 0, 10)
    host.after_step(other, batch, torch.tensor(True))
    assert torch.equal(host.teacher[0].weight, other.students[0][0].weight)
    host.after_step(network, batch._replace(iteration=1), torch.tensor(True))
    mean = (other.students[0][0].weight + network.students[0][0].weight) / 2
    torch.testing.assert_close(host.teacher[0].weight, mean.detach())


def iteration(num_unlabeled: int = 2, **keys):
    torch.manual_seed(0)
    network, host = small_host(**keys)
    host.class_counts += torch.tensor([9.0, 5.0])
    images = torch.randn(2 + num_unlabeled, 1, 16, 16, 16)
    student = WithFeatures(network.students[0], host.feature_modules)
    return host([student], Batch(images, (images[:2] > 0).long(), 5, 10))


def test_whole_unlabeled_volumes_are_for_scdl_alone():
    on, off = iteration(), iteration(unlabeled_features=False)
    assert [len(output.features[0]["1"]) for output in (on, off)] == [4, 2]
    for name, term in on.terms.items():
        torch.testing.assert_close(off.terms[name], term)
    assert off.curves["pseudo_label_from_teacher"] < 1


def test_a_batch_whose_unlabeled_files_cannot_be_read_trains():
    output = iteration(num_unlabeled=0)
    assert all(term.value.isfinite() for term in output.terms.values()) and output.terms["consistency"].value == 0


def test_two_processes_are_one_with_the_same_groups(tmp_path):
    one, (first, second) = shared_iteration(), run_ranks(shared_iteration, tmp_path)
    assert one["class_counts"].sum() == 2 * 16**3 and one["gradient of location_head.0.weight"].abs().max() > 1e-6
    for name, value in one.items():
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        torch.testing.assert_close(first[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_another_network_by_its_modules_names():
    student = SegResNet(2, 8, 1, 3, blocks_down=(1, 1), blocks_up=(1,))
    names = {"deepest": "down_layers.1", "last": "up_layers.0", "head": "conv_final"}
    network = DualStudent(student, [torch.nn.init.kaiming_normal_])
    network, host = small_host(network=network, roi_size=(16, 16), **names)
    student = WithFeatures(network.students[0], host.feature_modules)
    output = host([student], Batch(torch.randn(4, 1, 16, 16), torch.randint(3, (2, 1, 16, 16)), 5, 10))
    assert all(term.value.isfinite() for term in output.terms.values())


def vnet(norm: str = "instance", students: int = 1) -> DualStudent:
    return DualStudent(VNet(1, 2, num_filters=1, norm=norm), [torch.nn.init.kaiming_normal_] * students)


VNET = dict(zip(("deepest", "last", "head"), ("block_five", "block_nine", "out_conv")))


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"cube_size": 6}, r"cubes of \[6, 6, 6\] voxels do not divide a patch of \[16, 16, 16\]"),
        ({"cube_size": 16}, "into two or more"),
        ({"batch_sizes": (1, 0)}, "unlabeled cases, and there are none"),
        ({"batch_sizes": (0, 1)}, "0 labeled and 1 unlabeled.*--labeled_batch_size"),
        ({"last": "block_ten"}, r"'block_ten' is no module of Sequential; it has 0, 1, 2"),
        ({"head": "0"}, "head='0'"),
        ({"network": vnet(), "roi_size": [32] * 3, "cube_size": 16, **VNET}, "16, 16.*Expected more than 1 spatial"),
        ({"network": vnet(), "roi_size": [48] * 3, "cube_size": 24, **VNET}, "cubes of .24, 24, 24.*multiples of 16"),
        ({"network": vnet(students=2), **VNET}, "one student: give network_def one initializer"),
    ],
)
def test_what_cannot_work_is_told_before_training(keys, match):
    with pytest.raises(InputError, match=match):
        small_host(**keys)
