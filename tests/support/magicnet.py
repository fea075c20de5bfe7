# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The published MagicNet of tests/reference/magicnet.npz in our names, and a small host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from scdl_components.hosts import MagicNet
from scdl_components.hosts.cubes import cut, put_together
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


def published_host() -> tuple[DualStudent, AsPublished]:
    """Student, teacher and location head of the reference, float64."""
    network = DualStudent(VNet(1, 5, num_filters=1, norm="instance"), [torch.nn.init.zeros_])
    network.students[0].load_state_dict(vnet_state("student"))
    losses = {"ce": cross_entropy, "dice": batch_dice}
    host = AsPublished(network, losses, (64, 64, 64), weight=0.05, ramp=lambda _: 1.0, location_channels=32)
    host.teacher.load_state_dict(vnet_state("teacher"))
    state = {k: v for k, v in published("student/fc_layer.fc_layer.").items() if "running" not in k and "num_" not in k}
    # places are counted along the first axis there, along the last one here
    places = torch.arange(8).reshape(2, 2, 2).permute(2, 1, 0).flatten()
    host.location_head.load_state_dict({k: v[places] if k.startswith("3.") else v for k, v in state.items()})
    return network.double(), host.double()
