# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A trainer of two tiny students on bright boxes in noise."""

import torch
from monai.data import Dataset
from monai.transforms import Compose, RandSpatialCropd

from scdl_components.data.two_stream import TwoStreamLoader
from scdl_components.engines import DualStudentTrainer
from scdl_components.handlers import IterationSeed
from scdl_components.hosts import CPS, TrainingLoss
from scdl_components.losses import GACELoss, GADiceLoss
from scdl_components.networks import DualStudent, VNet


def volume(seed: int) -> dict[str, torch.Tensor]:
    """A bright box in noise."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(1, 24, 24, 24)
    x, y, z = torch.randint(0, 12, (3,), generator=generator)
    label[:, x : x + 12, y : y + 12, z : z + 12] = 1
    return {"image": label + 0.3 * torch.randn(label.shape, generator=generator), "label": label}


def cps() -> CPS:
    return CPS({"ga_ce": GACELoss(), "ga_dice": GADiceLoss()}, GACELoss(top_k=100))


def trainer(
    max_epochs=2, host=None, scdl=None, handlers=(), device="cpu", student=None, rate=0.01, **kwargs
) -> DualStudentTrainer:
    torch.manual_seed(0)
    crop = RandSpatialCropd(["image", "label"], (16, 16, 16), random_size=False, allow_missing_keys=True)
    labeled = Dataset([volume(0), volume(1)], Compose([crop]))
    unlabeled = Dataset([{"image": volume(s)["image"]} for s in (2, 3, 4)], Compose([crop]))
    network = DualStudent(student or VNet(1, 2, num_filters=2)).to(device)
    loss = TrainingLoss(host or cps(), scdl)
    optimizer = torch.optim.SGD(list(network.parameters()) + list(loss.parameters()), lr=rate, momentum=0.9)
    return DualStudentTrainer(
        device=device,
        max_epochs=max_epochs,
        train_data_loader=TwoStreamLoader(labeled, unlabeled, labeled_batch_size=1, unlabeled_batch_size=1),
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        train_handlers=[IterationSeed(0), *handlers],
        **kwargs,
    )


def weights(engine: DualStudentTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in engine.network.parameters()])
