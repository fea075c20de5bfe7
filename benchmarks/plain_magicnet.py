# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MagicNet as a plain script would have it, in the style of the published code, to compare with."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_loop import PlainLoop
from scdl_components.networks import VNet


class PlainMagicNet(PlainLoop):
    """Cubes volume by volume, unlabeled ones decoded twice; whole unlabeled volumes, too; one-hot volumes."""

    cube = 32

    def __init__(self, *args) -> None:
        super().__init__(*args)
        (self.student,) = self.students
        self.teacher = deepcopy(self.student)
        self.grid = [size // self.cube for size in self.roi_size]
        self.places = int(np.prod(self.grid))
        channels = self.student.block_five.conv[0].out_channels
        hidden = 4096
        layers = nn.Linear(channels * (self.cube // 16) ** 3, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)
        self.location = nn.Sequential(*layers, nn.Linear(hidden, self.places)).to(self.device)
        self.optimizer.add_param_group({"params": list(self.location.parameters())})
        self.num_classes, self.iteration = self.student.out_conv.out_channels, 101
        self.counts, self.seen = torch.rand(self.num_classes), []

    def step(self) -> dict[str, float]:
        images, target = self.batch()
        student = self.student
        plain = decode(student, encode(student, images))[0]
        order = torch.rand(4, *self.grid).argsort(0)
        mixed = torch.gather(images, 0, self.voxelwise(order, 1))
        last = decode(student, encode(student, mixed))[1]
        cross = student.out_conv(torch.gather(last, 0, self.voxelwise(order.argsort(0), last.shape[1])))
        with torch.no_grad():
            noisy = images[2:] + (torch.randn_like(images[2:]) * 0.1).clamp(-0.2, 0.2)
            teacher = decode(self.teacher, encode(self.teacher, noisy))[0]
            teachers = teacher.softmax(1).max(1).indices
        cubes = torch.cat([images[(slice(None), slice(None), *w)].unsqueeze(1) for w in self.windows()], 1)
        places, location, features = torch.randperm(self.places), 0, []
        for volume in cubes:
            features.append(encode(student, volume))
            found = self.location(features[-1][-1].flatten(1)[places])
            location = location + F.nll_loss(found.log_softmax(1), places.to(self.device)) / 4
        within = student.out_conv(self.put_together(torch.stack([decode(student, f)[1] for f in features])))
        with torch.no_grad():
            weight = (self.counts / self.counts.max()).to(self.device)[teachers].unsqueeze(1)
            weight = weight.repeat(1, self.num_classes, 1, 1, 1)
            own = self.put_together(torch.stack([decode(student, f)[0] for f in features[2:]]))
            blended = ((1 - weight) * teacher + weight * own).softmax(1).max(1).indices
            self.seen.append(blended.reshape(-1, 1))
            if self.iteration % 20 == 0:
                seen, self.seen = torch.cat(self.seen), []
                self.counts = torch.tensor([float(len(torch.where(seen == c)[0])) for c in range(self.num_classes)])
        losses = {"ce": F.cross_entropy(plain[:2], target[:, 0]) / 4}
        for name, logits in (("dice", plain), ("cross", cross), ("within", within)):
            losses[name] = dice(logits[:2].softmax(1), target[:, 0]) / 4
        losses |= {"location": 0.1 * location, "consistency": 0.1 * dice(cross[2:].softmax(1), blended)}
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        for mine, its in zip(self.teacher.parameters(), student.parameters()):
            mine.data.mul_(0.99).add_(its.data, alpha=0.01)
        self.iteration += 1
        return {name: value.item() for name, value in losses.items()}

    def windows(self) -> list[tuple[slice, ...]]:
        return [
            tuple(slice(self.cube * i, self.cube * (i + 1)) for i in place) for place in product(*map(range, self.grid))
        ]

    def voxelwise(self, order: Tensor, channels: int) -> Tensor:
        order = order.to(self.device).unsqueeze(1).repeat_interleave(channels, 1)
        for axis in (2, 3, 4):
            order = order.repeat_interleave(self.cube, axis)
        return order

    def put_together(self, cubes: Tensor) -> Tensor:
        volumes = torch.zeros(len(cubes), cubes.shape[2], *self.roi_size, device=self.device)
        for place, window in enumerate(self.windows()):
            volumes[(slice(None), slice(None), *window)] = cubes[:, place]
        return volumes


def encode(net: VNet, x: Tensor) -> list[Tensor]:
    """Features of the five levels."""
    found = [net.block_one(x)]
    for down, block in (("one_dw", "two"), ("two_dw", "three"), ("three_dw", "four"), ("four_dw", "five")):
        found.append(getattr(net, f"block_{block}")(getattr(net, f"block_{down}")(found[-1])))
    return found


def decode(net: VNet, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits and last features."""
    x = features[-1]
    for skip, (up, block) in zip(
        features[-2::-1], (("five", "six"), ("six", "seven"), ("seven", "eight"), ("eight", "nine"))
    ):
        x = getattr(net, f"block_{block}")(getattr(net, f"block_{up}_up")(x) + skip)
    return net.out_conv(x), x


def dice(prob: Tensor, target: Tensor, smooth: float = 1e-10) -> Tensor:
    loss = 0
    one_hot = torch.cat([(target == c).unsqueeze(1) for c in range(prob.shape[1])], 1).float()
    for c in range(prob.shape[1]):
        p, t = prob[:, c], one_hot[:, c]
        loss = loss + 1 - (2 * (p * t).sum() + smooth) / ((p * p).sum() + (t * t).sum() + smooth)
    return loss / prob.shape[1]
