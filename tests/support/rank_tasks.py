# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What the ranks of tests/test_distributed.py do."""

import itertools
from collections.abc import Sequence

import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import Evaluator
from monai.transforms import Compose, Lambdad
from support.loss_parts import values_and_gradients
from torch.nn.parallel import DistributedDataParallel

from scdl_components.data.two_stream import TwoStreamLoader, TwoStreamSampler
from scdl_components.distributed import largest_of_all, lost_process_errors, on_rank_zero, rank, share, world_size
from scdl_components.engines import DualStudentTrainer
from scdl_components.errors import InputError, UserError
from scdl_components.handlers import IterationSeed, WeightsSaver
from scdl_components.hosts import CPS, DHC, Host, TrainingLoss
from scdl_components.losses import CDBALoss, DiceCELoss, GACELoss, GADiceLoss, SACLoss, SCDLLoss
from scdl_components.networks import DualStudent, PriorNetwork, VNet
from scdl_components.proxies import ProxyBank


def hardest() -> dict[str, torch.Tensor]:
    """30 % largest of 40 and of 7 values, of which there are five different ones."""
    values = torch.randint(0, 5, (40 if rank() == 0 else 7,), generator=torch.Generator().manual_seed(rank())).float()
    return {"values": values, "kept": largest_of_all(values, 30)}


def draws() -> dict[str, list]:
    """Batches of this rank, and the whole of one."""
    sampler = TwoStreamSampler({"labeled": 3, "unlabeled": 5}, {"labeled": 2, "unlabeled": 4}, seed=1)
    batches = [[list(map(str, item)) for item in batch] for batch in itertools.islice(sampler, 6)]
    return {"batches": batches, "all": [list(map(str, item)) for item in sampler.batch(3)]}


def validated() -> dict[str, float]:
    """Running mean of a batch norm that each rank has trained alone, as a validation has it."""
    network = torch.nn.BatchNorm1d(1)
    network(torch.full((2, 1), float(rank() + 1)))
    found = {"before": float(network.running_mean)}
    evaluator = Evaluator("cpu", [])
    WeightsSaver("nowhere", network).attach(evaluator)
    evaluator.fire_event(Events.STARTED)
    return found | {"in validation": float(network.running_mean)}


@on_rank_zero
def _result() -> list:
    return [rank(), "done"]


@on_rank_zero
def _fails() -> None:
    raise InputError("no such file")


@on_rank_zero
def _nested() -> int:
    return _result() and 5


def everything() -> dict[str, dict]:
    """All of it, for processes take longer to start than to do it."""
    tasks = (
        values_and_gradients,
        hardest,
        draws,
        validated,
        errors,
        training,
        dhc,
        training_with_priors,
        training_with_token_samples,
        end,
    )
    return {task.__name__: task() for task in tasks}


def errors() -> dict[str, object]:
    """What a rank sees of another one's result and error."""
    found: dict[str, object] = {"result": _result(), "nested": _nested()}
    try:
        _fails()
    except UserError as error:
        found["user_error"] = [type(error).__name__, str(error), getattr(error, "shown_elsewhere", False)]
    try:
        share(3, "labeled_batch_size")
    except InputError as error:
        found["uneven"] = str(error)
    return found


def volume(seed: int) -> dict[str, torch.Tensor]:
    """A bright box in noise; that of seed 3 holds a NaN."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(1, 16, 16, 16)
    x, y, z = torch.randint(0, 8, (3,), generator=generator)
    label[:, x : x + 8, y : y + 8, z : z + 8] = 1
    image = label + 0.3 * torch.randn(label.shape, generator=generator)
    return {"image": image if seed != 3 else image.fill_(torch.nan), "label": label, "case": seed}


def _loadable(case: int) -> int:
    if case == 12:
        raise OSError("this file has vanished")
    return case


def dhc() -> dict[str, object]:
    """The same with another host, whose class weights are of all ranks' voxels."""
    return training(DHC({"dice_ce": DiceCELoss()}, DiceCELoss(lambda_dice=0), 2, torch.tensor([3000, 500])))


def training(host: Host | None = None, priors: Sequence[str] = ()) -> dict[str, object]:
    """Ten iterations of four labeled cases, one with a NaN, and four unlabeled ones, one of which cannot be loaded."""
    torch.manual_seed(0)
    labeled = Dataset([volume(seed) for seed in range(4)], Compose([]))
    images = [{"image": volume(seed)["image"], "case": seed} for seed in range(10, 14)]
    unlabeled = Dataset(images, Compose([Lambdad("case", _loadable)]))
    norm = ("group", {"num_groups": 1})
    student = VNet(1, 2, num_filters=2, norm=norm)
    bank = ProxyBank(16 if priors else 2, 2, embed_dim=8, num_samples=5, dropout=0.0)
    network = DualStudent(PriorNetwork(student, bank, priors=priors) if priors else student).double()
    edge = 8 if priors else 4
    cdba, sac = CDBALoss(bank, edge, reduction="token"), SACLoss(bank, edge)
    scdl = SCDLLoss(cdba, sac, students=list(network.students)).double()
    cps = CPS({"ga_ce": GACELoss(), "ga_dice": GADiceLoss()}, GACELoss(top_k=100))
    loss = TrainingLoss(host or cps, scdl)
    trainer = DualStudentTrainer(
        device="cpu",
        max_epochs=5,
        train_data_loader=TwoStreamLoader(labeled, unlabeled, labeled_batch_size=2, unlabeled_batch_size=2),
        network=network,
        optimizer=torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.01, momentum=0.9),
        loss_function=loss,
        parallel=DistributedDataParallel if world_size() > 1 else None,
        to_kwargs={"dtype": torch.float64},
        train_handlers=[IterationSeed(0)],
    )
    finite, losses = [], []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: finite.append(bool(trainer.state.output[0]["finite"]))
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(float(trainer.state.output[0]["loss"])))
    # what mixed precision on a GPU has, and what would differ where only one rank saw the NaN
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    trainer.add_event_handler(Events.STARTED, lambda: setattr(trainer, "scaler", scaler))
    trainer.run()
    skipped = dict(trainer.data_loader.skipped)
    found = {"network": network.state_dict(), "proxies": loss.state_dict(), "finite": finite, "losses": losses}
    return found | {"scale": trainer.scaler.get_scale(), "skipped": skipped}


def training_with_priors() -> dict[str, object]:
    """As :func:`training`, with priors whose draws are the same for any number of samples."""
    return training(priors=["distribution", "center"])


def training_with_token_samples() -> dict[str, object]:
    """As :func:`training`, with all priors."""
    return training(priors=["distribution", "center", "samples"])


def end() -> dict[str, str]:
    """The second rank ends; what the first one, which needs it, is told."""
    if rank() == 1:
        return {}
    try:
        with lost_process_errors():
            dist.all_reduce(torch.zeros(1))
    except UserError as error:
        return {"lost": str(error)}
    return {}
