# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The published MagicNet of tests/reference/magicnet.npz in our names, and a small host."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from scdl_components.distributed import all_reduce_means, rank, world_size
from scdl_components.hosts import Batch, MagicNet, NetworkWithLoss, TrainingLoss
from scdl_components.hosts.cubes import cut, put_together
from scdl_components.hosts.magicnet import Draws
from scdl_components.losses.functional import batch_dice
from scdl_components.networks import DualStudent, VNet

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "magicnet.npz")
PRIORS = ("p12.", "p24.", "p48.", "p96.")


def tensor(name: str) -> torch.Tensor:
    value = torch.from_numpy(REFERENCE[name])
    return value.double() if value.is_floating_point() else value


def published(prefix: str) -> dict[str, torch.Tensor]:
    """Tensors of the reference whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): torch.from_numpy(REFERENCE[k]) for k in REFERENCE.files if k.startswith(prefix)}


def vnet_state(who: str) -> dict[str, torch.Tensor]:
    """Weights of the student or the teacher as our V-Net names them."""
    state = published(f"{who}/encoder.") | published(f"{who}/decoder.")
    return {name: value for name, value in state.items() if not name.startswith(PRIORS)}


def sampled(values: torch.Tensor) -> torch.Tensor:
    """What the reference holds of a large array."""
    return values.detach().flatten()[:: int(REFERENCE["sample_step"])]


def cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, label[:, 0].long())


class AsPublished(MagicNet):
    """With two faults of the published code, which its numbers have.

    Within a volume the cube of place (x, y, z) is put at (z, y, x), and pseudo-labels of unlabeled volumes are blended
    with the cubes of the labeled ones.
    """

    seen: tuple | list = ()  # last features from cubes, in the order of the calls

    def in_cubes(self, student, images):
        self.seen = [*self.seen]
        deepest, last = super().in_cubes(student, images)
        last = cut(last, self.grid).unflatten(0, (-1, *self.grid)).transpose(1, 3).flatten(0, 3)
        self.seen.append(put_together(last, self.grid))
        return deepest, self.seen[-1]

    def pseudo_label(self, images, within, iteration):
        return super().pseudo_label(images, self.head[0](self.seen[-2]), iteration)


class InTwoGroups(MagicNet):
    """In one process what two do: both draw the same for their volumes, a labeled and an unlabeled one."""

    def draw(self, images, num_unlabeled):
        order, noise = super().draw(images[::2], 1)
        order = torch.stack([group + 2 * order[place] for place in (0, 1) for group in (0, 1)])
        return Draws(order, torch.cat([noise, noise]))


def published_host() -> tuple[DualStudent, AsPublished]:
    """Student, teacher and location head of the reference, float64."""
    network = DualStudent(VNet(1, 5, num_filters=1, norm="instance"), [torch.nn.init.zeros_])
    network.students[0].load_state_dict(vnet_state("student"))
    losses = {"ce": cross_entropy, "dice": batch_dice}
    host = AsPublished(network, losses, (64, 64, 64), weight=0.05, location_channels=32)
    host.teacher.load_state_dict(vnet_state("teacher"))
    state = {k: v for k, v in published("student/fc_layer.fc_layer.").items() if "running" not in k and "num_" not in k}
    # places are counted along the first axis there, along the last one here
    places = torch.arange(8).reshape(2, 2, 2).permute(2, 1, 0).flatten()
    host.location_head.load_state_dict({k: v[places] if k.startswith("3.") else v for k, v in state.items()})
    return network.double(), host.double()


def small_host(**changed) -> tuple[DualStudent, MagicNet]:
    """A student of three layers and two classes, patches of 16 in cubes of 8; drawn from torch's generator."""
    layers = torch.nn.Conv3d(1, 4, 2, stride=2), torch.nn.ConvTranspose3d(4, 4, 2, stride=2), torch.nn.Conv3d(4, 2, 1)
    network = changed.pop("network", None) or DualStudent(torch.nn.Sequential(*layers), [torch.nn.init.kaiming_normal_])
    keys = {
        "supervised_losses": {"dice": batch_dice},
        "roi_size": (16, 16, 16),
        "cube_size": 8,
        "batch_sizes": (2, 2),
        "location_channels": 16,
        "blend_after": 2,
        "history": 2,
        **dict(zip(("deepest", "last", "head"), "012")),
    }
    return network, MagicNet(network, **{**keys, **changed})


def shared_iteration() -> dict[str, torch.Tensor]:
    """An iteration and the teacher's step: of a rank's share, or of both groups of volumes in one process."""
    torch.manual_seed(0)
    network, host = (module.double() for module in small_host())
    host.class_counts += torch.tensor([60.0, 40.0])
    loss = NetworkWithLoss(network, TrainingLoss(host))
    images = torch.randn(4, 1, 16, 16, 16).double()
    label = (images[:2] > 0).long()
    orders = [torch.rand(2, 2, 2, 2).argsort(0) for _ in range(2)]  # of a group: a labeled and an unlabeled volume
    noise = 0.1 * torch.randn_like(images[2:])
    if world_size() > 1:
        mine = [rank(), 2 + rank()]
        host.draw = lambda *_: Draws(orders[rank()], noise[rank()][None])
        images, label = images[mine], label[mine[:1]]
        loss = DistributedDataParallel(loss)
    else:
        order = torch.stack([group + 2 * orders[group][place] for place in (0, 1) for group in (0, 1)])
        host.draw = lambda *_: Draws(order, noise)
    batch = Batch(images, label, 4, 10)
    total, terms, _ = loss(*batch)
    total.backward()
    gradients = {f"gradient of {n}": p.grad for n, p in (*network.named_parameters(), *host.named_parameters())}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= parameter.grad
    host.after_step(network, batch, torch.tensor(True))
    values = dict(zip(terms, all_reduce_means([term.value.float() for term in terms.values()])))
    return values | {n: g for n, g in gradients.items() if g is not None} | host.state_dict()
