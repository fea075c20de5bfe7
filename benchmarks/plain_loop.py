# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Training and segmentation as a plain script would have them, in the style of the published code, to compare with.

Written for the benchmarks from the equations of docs/method.md: float32, volumes cropped in NumPy, losses term by term,
SCDL as [B, C, L, S], every loss fetched in every step; windows one by one, added up in NumPy.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scdl_components.networks import DualStudent


class PlainSCDL(nn.Module):
    """SCDL of one student with the published assignment, a tensor of all cosines at a time.

    Args:
        channels: of the features.
        num_classes: with background.
        embed_dim: of the embeddings.
        edge: of a token, voxels.
        num_samples: of a class's proxy.
        temperature: of the assignments.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        embed_dim: int,
        edge: int,
        num_samples: int = 50,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        hidden = 2 * embed_dim
        layers = [nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, hidden), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(hidden, embed_dim))
        self.mu = nn.Parameter(F.normalize(torch.randn(num_classes, embed_dim), dim=-1))
        self.rho = nn.Parameter(torch.zeros(num_classes, embed_dim))
        self.edge, self.num_samples, self.temperature = edge, num_samples, temperature

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """L_sep + 0.1 L_dist + 0.1 L_kl + L_sac of features [B, D, *spatial], the first b with label [b, 1, *spatial]."""
        tokens = F.avg_pool3d(features, self.edge).flatten(2).mT
        one_hot = F.one_hot(label[:, 0], len(self.mu)).movedim(-1, 1).float()
        weights = F.avg_pool3d(one_hot, self.edge).flatten(2).mT
        embeddings = F.normalize(self.encoder(tokens), dim=-1)
        noise = torch.randn(len(self.mu), self.num_samples, self.mu.shape[1], device=self.mu.device)
        samples = F.normalize(self.mu[:, None] + F.softplus(self.rho)[:, None] * noise, dim=-1)
        similarity = torch.matmul(embeddings[:, None], samples.mT[None]).mean(-1).mT
        cosines = embeddings @ F.normalize(self.mu, dim=-1).T / self.temperature
        log_q, log_r = cosines.log_softmax(-1), cosines.log_softmax(-1)
        agreed = (log_q + log_r).detach().softmax(-1)
        loss = 0.1 * ((log_q.exp() - log_r.exp()) * (log_q - log_r)).sum(-1).mean()
        known = len(weights)
        for part, w in ((similarity[:known], weights), (similarity[known:], agreed[known:])):
            loss = loss + torch.exp((1 - 2 * w) * part).mean() + 0.1 * (w * (1 - part)).sum(-1).mean()
        counts = weights.sum(1)[..., None]
        means = (weights.mT @ tokens[:known]) / counts.clamp_min(1e-6)
        anchors = F.normalize(self.encoder(means), dim=-1).mean(0).detach()
        present = counts.sum((0, 2)) > 0
        return loss + (1 - F.cosine_similarity(anchors, self.mu))[present].mean()


def ga_ce(logits: Tensor, target: Tensor, top_k: float, gamma: float = 0.5) -> Tensor:
    """GA-CE out of PyTorch's operations: logits [B, C, *spatial], target [B, 1, *spatial]."""
    entropy, classes = F.cross_entropy(logits, target[:, 0], reduction="none").flatten(), target.flatten()
    entropy, kept = torch.topk(entropy, int(entropy.numel() * top_k / 100))
    classes = classes[kept]
    loss = 0
    for c in range(logits.shape[1]):
        of_class = classes == c
        count = of_class.sum().item()
        if count:
            loss = loss + entropy[of_class].sum() / (count ** (1 - gamma) * classes.numel() ** gamma)
    return loss


def ga_dice(logits: Tensor, target: Tensor, smooth: float = 1e-10) -> Tensor:
    """GA-Dice out of PyTorch's operations."""
    prob = logits.softmax(1)
    one_hot = F.one_hot(target[:, 0], logits.shape[1]).movedim(-1, 1).float()
    loss = 0
    for c in range(logits.shape[1]):
        p, t = prob[:, c], one_hot[:, c]
        if t.sum().item():
            loss = loss + 1 - (2 * (p * t).sum() + smooth) / ((p * p).sum() + (t * t).sum() + smooth)
        else:
            loss = loss + ((p / (1 - t).sum()).detach() * p).sum()
    return loss / logits.shape[1]


class PlainLoop:
    """Training step by step.

    Args:
        network: the students; their last decoder features are those of ``block_nine``.
        scdl: of each student.
        volumes: (image, label) arrays; the first two are the labeled ones.
        roi_size: patch.
        device: of networks and losses; the volumes stay in main memory.
    """

    def __init__(
        self,
        network: DualStudent,
        scdl: Sequence[PlainSCDL],
        volumes: Sequence,
        roi_size: Sequence[int],
        device: torch.device,
    ) -> None:
        self.volumes, self.roi_size, self.device = volumes, roi_size, device
        self.students, self.scdl = network.to(device).train().students, [module.to(device) for module in scdl]
        parameters = [p for module in (network, *scdl) for p in module.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.random = np.random.default_rng(0)
        self.features: list[Tensor] = []
        for student in self.students:
            student.block_nine.register_forward_hook(lambda module, inputs, output: self.features.append(output))

    def crop(self, image: np.ndarray, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        start = [self.random.integers(size - n + 1) for size, n in zip(image.shape, self.roi_size)]
        window = tuple(slice(s, s + n) for s, n in zip(start, self.roi_size))
        return image[window].astype(np.float32), None if label is None else label[window].astype(np.int64)

    def losses(self, logits: Sequence[Tensor], pseudo: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
        """Losses by name, of both students' logits of all samples, their hard labels, and the labeled ones' labels."""
        return {
            "ga_ce": sum(ga_ce(output[:2], target, 10) for output in logits),
            "ga_dice": sum(ga_dice(output[:2], target) for output in logits),
            "cps": 0.1 * sum(ga_ce(output, other, 100) for output, other in zip(logits, pseudo[::-1])),
            "scdl": sum(scdl(feature, target) for scdl, feature in zip(self.scdl, self.features)),
        }

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images of 2 + 2 crops and labels of the first two."""
        chosen = [*self.random.integers(0, 2, 2), *self.random.integers(2, len(self.volumes), 2)]
        crops = [self.crop(*self.volumes[index]) for index in chosen]
        images = torch.from_numpy(np.stack([image for image, _ in crops]))[:, None].to(self.device)
        return images, torch.from_numpy(np.stack([label for _, label in crops[:2]]))[:, None].to(self.device)

    def step(self) -> dict[str, float]:
        """One iteration of batch 2 + 2; every loss as a number."""
        images, target = self.batch()
        self.features.clear()
        logits = [student(images) for student in self.students]
        losses = self.losses(logits, [output.detach().argmax(1, keepdim=True) for output in logits], target)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}


def segment(
    network: DualStudent, image: np.ndarray, windows: Sequence[tuple[slice, ...]], num_classes: int
) -> np.ndarray:
    """Labels of a volume by windows one by one, their probabilities added up in NumPy."""
    device = next(network.parameters()).device
    score, count = np.zeros((num_classes, *image.shape), np.float32), np.zeros(image.shape, np.float32)
    for window in windows:
        patch = torch.from_numpy(image[window])[None, None].to(device)
        logits = sum(student(patch) for student in network.students) / 2
        score[(slice(None), *window)] += logits.softmax(1)[0].cpu().numpy()
        count[window] += 1
    return (score / count).argmax(0)
