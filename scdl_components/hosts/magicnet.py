# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MagicNet: cubes mixed across and within volumes, and a mean teacher (CVPR 2023; docs/method.md)."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from ..distributed import all_reduce_sum, world_size
from ..errors import InputError, UserError
from ..losses.functional import batch_dice, class_counts, gaussian_ramp
from ..losses.terms import LossTerm
from ..networks.dual_student import DualStudent
from ..networks.features import WithFeatures
from ..tokens import full_precision
from .base import Batch, Host, HostOutput, Loss, Student, hard_labels, supervised_terms
from .cubes import cut, exchange, put_together


class Draws(NamedTuple):
    """Random draws of an iteration.

    Attributes:
        order: volume whose cube each volume gets at each place, [B, *grid].
        noise: added to the unlabeled images that the teacher sees, as these.
    """

    order: Tensor
    noise: Tensor


class MagicNet(Host):
    """One student, which also sees its volumes in cubes, and a mean teacher.

    The student is any network with three named modules: ``deepest`` and ``last``, whose outputs are its deepest and its
    last features, and ``head``, which makes logits of the last features and is called on those put together again.
    Cubes are exchanged within a process, and all cubes of a batch are one batch. Numbers of the published code:
    ``reference/magicnet.npz``.

    Args:
        network: with one student, of which the teacher starts as a copy.
        supervised_losses: name -> loss(logits [B, C, *spatial], label [B, 1, *spatial]) on whole labeled volumes.
        roi_size: of a patch, as many entries as it has axes.
        cube_size: one number, or one for each axis; divides ``roi_size``.
        batch_sizes: labeled and unlabeled volumes of a batch, all processes together.
        class_names: for the curves of the blending weights; None: their numbers.
        supervised_weight: of each loss on labeled volumes; a quarter is the mean of cross entropy and three Dice.
        weight: of the loss on unlabeled volumes at the end of :func:`~scdl_components.losses.gaussian_ramp`.
        location_weight: of the location loss.
        location_channels: of the location head's hidden layer.
        decay: of the teacher; less in the first iterations, where it is the true average.
        blend_after: iterations whose pseudo-labels are the teacher's alone.
        history: iterations whose pseudo-labels are counted for the next ones' blending.
        noise: standard deviation of the noise on the teacher's images, clipped at twice that.
        deepest: name of a module of the student.
        last: likewise.
        head: likewise.
        in_channels: of the images.
        unlabeled_features: run whole unlabeled volumes, too: SCDL needs their features, and nothing else does.

    Raises:
        InputError: when cubes do not divide the patch, are too few or too small for the student; when it has no such
            modules, or is not one; when a process has fewer than two volumes, or there are no unlabeled ones.
    """

    def __init__(
        self,
        network: DualStudent,
        supervised_losses: Mapping[str, Loss],
        roi_size: Sequence[int],
        cube_size: int | Sequence[int] = 32,
        batch_sizes: Sequence[int] = (2, 2),
        class_names: Sequence[str] | None = None,
        supervised_weight: float = 0.25,
        weight: float = 0.1,
        location_weight: float = 0.1,
        location_channels: int = 4096,
        decay: float = 0.99,
        blend_after: int = 100,
        history: int = 20,
        noise: float = 0.1,
        deepest: str = "block_five",
        last: str = "block_nine",
        head: str = "out_conv",
        in_channels: int = 1,
        unlabeled_features: bool = True,
    ) -> None:
        super().__init__()
        if len(network.students) != 1:
            raise InputError("MagicNet trains one student: give network_def one initializer")
        self.supervised_losses = dict(supervised_losses)
        self.supervised_weight, self.weight, self.location_weight = supervised_weight, weight, location_weight
        self.decay, self.blend_after, self.history, self.noise = decay, blend_after, history, noise
        self.deepest, self.last, self.feature_modules = deepest, last, (deepest, last)
        self.unlabeled_features = unlabeled_features
        cube = ensure_tuple_rep(cube_size, len(roi_size))
        self.grid = _grid(roi_size, cube)
        _check_batch(batch_sizes)
        student = network.students[0]
        features, num_classes = _try_cube(student, (in_channels, *cube), deepest, last, head)
        self.head = (student.get_submodule(head),)  # no submodule: it is the network's
        self.teacher = deepcopy(student).requires_grad_(False)
        self.class_names = class_names or [str(index) for index in range(num_classes)]
        places = math.prod(self.grid)
        self.location_head = nn.Sequential(
            nn.Linear(features, location_channels),
            nn.BatchNorm1d(location_channels, track_running_stats=False),
            nn.LeakyReLU(0.2),
            nn.Linear(location_channels, places),
        )
        # of the pseudo-labels: those that weigh now, and those counted for later
        self.register_buffer("class_counts", torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer("next_counts", torch.zeros(num_classes, dtype=torch.float64))

    def forward(self, students: Sequence[Student], batch: Batch) -> HostOutput:
        images, label, student, (head,) = batch.images, batch.label, students[0], self.head
        sizes = len(label), len(images) - len(label)
        labeled, unlabeled = images.split(sizes)
        order, noise = self.draw(images, sizes[1])
        plain = student(images if self.unlabeled_features else labeled)
        # across volumes
        mixed = student(exchange(images, order)).features[self.last]
        cross, cross_unlabeled = head(exchange(mixed, order.argsort(0))).split(sizes)
        # within volumes; unlabeled ones apart, as their gradient reaches the encoder alone
        deepest, last = self.in_cubes(student, labeled)
        deepest_unlabeled, last_unlabeled = self.in_cubes(student, unlabeled)
        within = head(last)
        with torch.no_grad():
            pseudo_label, curves = self.pseudo_label(unlabeled + noise, head(last_unlabeled), batch.iteration)

        terms = supervised_terms(self.supervised_losses, [plain.logits], label, self.supervised_weight)
        terms["supervised/cross_dice"] = LossTerm(batch_dice(cross, label), self.supervised_weight)
        terms["supervised/within_dice"] = LossTerm(batch_dice(within, label), self.supervised_weight)
        location = self.location_loss(torch.cat([deepest, deepest_unlabeled]))
        terms["location"] = LossTerm(location, self.location_weight)
        consistency = batch_dice(cross_unlabeled, pseudo_label)
        terms["consistency"] = LossTerm(consistency, self.weight * gaussian_ramp(batch.progress))
        return HostOutput(terms, [plain.features], curves)

    def in_cubes(self, student: Student, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the deepest and last features of volumes cut into cubes.

        They are [B · places, D, *spatial], and, put together, [B, D, *spatial].
        """
        features = student(cut(images, self.grid)).features
        return features[self.deepest], put_together(features[self.last], self.grid)

    def draw(self, images: Tensor, num_unlabeled: int) -> Draws:
        """Draw orders and noise for a batch, from torch's generator."""
        order = torch.rand(len(images), *self.grid, device=images.device).argsort(0)
        noise = torch.randn_like(images[len(images) - num_unlabeled :]) * self.noise
        return Draws(order, noise.clamp(-2 * self.noise, 2 * self.noise))

    def location_loss(self, deepest: Tensor) -> Tensor:
        """Compute the cross entropy of each cube's place, averaged over volumes.

        Of deepest features [B · places, D, *spatial]. Batch norm of the head is over the cubes of one volume.
        """
        places = torch.arange(math.prod(self.grid), device=deepest.device)
        volumes = deepest.flatten(1).unflatten(0, (-1, len(places)))
        return torch.stack([F.cross_entropy(self.location_head(cubes), places) for cubes in volumes]).mean()

    def pseudo_label(self, images: Tensor, within: Tensor, iteration: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Label unlabeled volumes, [B, 1, *spatial], and count the labels; curves, too.

        Args:
            images: noisy, [B, channels, *spatial].
            within: the student's logits from cubes, [B, C, *spatial].
            iteration: number of iterations before this one.
        """
        logits = self.teacher(images)
        label = teachers = hard_labels(logits)
        weights = blend_weights(self.class_counts)
        if iteration > self.blend_after:
            label = hard_labels(blend(full_precision(logits), full_precision(within), weights[teachers]))
        same = (label == teachers).sum(dtype=torch.float64)[None]
        counts, same = all_reduce_sum(torch.cat([class_counts(label, len(weights)), same])).tensor_split([-1])
        self.next_counts += counts
        if iteration % self.history == 0:
            self.class_counts.copy_(self.next_counts)
            self.next_counts.zero_()
        curves = {f"blend_weight/{name}": weight for name, weight in zip(self.class_names, weights)}
        return label, curves | {"pseudo_label_from_teacher": same[0] / counts.sum().clamp_min(1)}

    @torch.no_grad()
    def after_step(self, network: DualStudent, batch: Batch, finite: Tensor) -> None:
        """Move the teacher towards the student, where the step was finite."""
        step = 1 - min(1 - 1 / (batch.iteration + 1), self.decay)
        for mine, its in zip(self.teacher.parameters(), network.students[0].parameters()):
            mine.lerp_(its, finite.to(mine.dtype) * step)


def blend_weights(counts: Tensor) -> Tensor:
    """Compute ω of each class [C], n_c / max n: the student decides frequent ones."""
    return counts / counts.max().clamp_min(1)


def blend(teacher: Tensor, cubes: Tensor, weight: Tensor) -> Tensor:
    """Blend logits [B, C, *spatial] by ω [B, 1, *spatial], the share of the cubes."""
    return teacher.lerp(cubes, weight.to(teacher.dtype))


def _grid(roi_size: Sequence[int], cube: Sequence[int]) -> tuple[int, ...]:
    """Count the cubes along each axis of a patch.

    Raises:
        InputError: they do not fill it, or there is but one.
    """
    if any(patch % size for patch, size in zip(roi_size, cube)) or tuple(roi_size) == tuple(cube):
        raise InputError(
            f"cubes of {list(cube)} voxels do not divide a patch of {list(roi_size)} into two or more: change "
            "--roi_size or --cube_size"
        )
    return tuple(patch // size for patch, size in zip(roi_size, cube))


def _check_batch(batch_sizes: Sequence[int]) -> None:
    """Refuse batches without unlabeled volumes, or with one volume.

    Raises:
        InputError: with the keys to change.
    """
    labeled, unlabeled = batch_sizes
    if not unlabeled:
        raise InputError("MagicNet learns from unlabeled cases, and there are none: add some, or take supervised.yaml")
    if labeled + unlabeled < 2 * world_size():
        raise InputError(
            f"MagicNet exchanges cubes between the volumes of a batch, and {world_size()} process(es) have {labeled} "
            f"labeled and {unlabeled} unlabeled one(s): give each two with --labeled_batch_size, --unlabeled_batch_size"
        )


def _try_cube(student: nn.Module, shape: Sequence[int], deepest: str, last: str, head: str) -> tuple[int, int]:
    """Run cubes [channels, *spatial]; count the deepest features of one, and the classes.

    Raises:
        InputError: the student has no such modules, or cannot take such a cube in training.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        copy = deepcopy(student).train()
        parameter = next(copy.parameters())
        try:
            features = WithFeatures(copy, (deepest, last, head))(parameter.new_zeros(2, *shape)).features
            logits = copy.get_submodule(head)(features[last])
        except (UserError, RuntimeError, ValueError) as error:
            raise InputError(
                f"MagicNet's student cannot take cubes of {list(shape[1:])} voxels with the modules deepest={deepest!r}, "
                f"last={last!r}, head={head!r}: {error}. Change --cube_size or these keys of the host"
            ) from error
    return features[deepest][0].numel(), logits.shape[1]
