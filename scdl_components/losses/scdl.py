# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SCDL as a term of dual-student training: CDBA and SAC on the tokens of every student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import nn

from ..distributed import world_size
from ..proxies.bank import ProxyBank
from ..proxies.tokens import pool_labels, pool_tokens, token_grid
from .cdba import Averaging, ClassMean, cdba_terms
from .dual_student import LossTerm, StudentOutputs
from .ramps import constant
from .sac import sac_loss


class SCDLTerm(nn.Module):
    """weight · (L_proxy + agreement + SAC), L_proxy = separation + 0.1 distance, of each student, summed.

    Source: arXiv 2603.05202; docs/method.md. Every student has a proxy bank of its own, its features being
    no one else's. Labeled and unlabeled tokens go through CDBA apart; SAC sees the labeled ones.

    Args:
        bank: proxy bank of the first student; the others get copies.
        num_students: how many students there are.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
        weight: factor of everything; 10 suits GA-CE's large gradient (docs/results.md), published is 0.1.
        separation_weight: of L_sep.
        distance_weight: of L_dist.
        agreement_weight: of L_kl over the number of a volume's tokens.
        sac_weight: of L_sac.
        unlabeled_weight: further factor of what unlabeled tokens contribute; 0 leaves them out.
        unlabeled_ramp: fraction of training done -> factor of ``unlabeled_weight``.
        averaging: how labeled tokens enter L_sep and L_dist, by token or by class; unlabeled ones, whose classes are a
            guess, enter by token.
    """

    def __init__(
        self,
        bank: ProxyBank,
        num_students: int = 2,
        voxels_per_token: int | Sequence[int] = 4,
        weight: float = 10.0,
        separation_weight: float = 1.0,
        distance_weight: float = 0.1,
        agreement_weight: float = 0.1,
        sac_weight: float = 1.0,
        unlabeled_weight: float = 0.1,
        unlabeled_ramp: Callable[[float], float] = constant,
        averaging: Averaging = ClassMean(),
    ) -> None:
        super().__init__()
        bank.embedding_sigma.requires_grad_(False)  # no loss draws embedding samples, and DDP waits for every gradient
        self.banks = nn.ModuleList([bank] + [deepcopy(bank) for _ in range(num_students - 1)])
        self.voxels_per_token = voxels_per_token
        self.weights = {
            "separation": weight * separation_weight,
            "distance": weight * distance_weight,
            "agreement": weight * agreement_weight,
            "sac": weight * sac_weight,
        }
        self.unlabeled_weight = unlabeled_weight
        self.unlabeled_ramp = unlabeled_ramp
        self.averaging = averaging
        # tokens of the first student's labeled samples [B_labeled, L, D] and their labels [B_labeled, L, C], to look at
        self.last_tokens: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, outputs: StudentOutputs) -> dict[str, LossTerm]:
        if len(outputs.features) != len(self.banks):
            raise ValueError(
                f"SCDL has {len(self.banks)} proxy banks and got features of {len(outputs.features)} students: name "
                "the trainer's feature_module, and give num_students the number of the network's students"
            )
        num_labeled = outputs.label.shape[0]
        grid = token_grid(outputs.label.shape[2:], self.voxels_per_token)
        label_weights = pool_labels(outputs.label, self.banks[0].num_classes, grid)
        factor = self.unlabeled_weight * self.unlabeled_ramp(outputs.progress)
        terms: dict[str, LossTerm] = {}

        def add(name: str, value: torch.Tensor, weight: float) -> None:
            terms[name] = LossTerm(terms[name].value + value if name in terms else value, weight)

        for student, (bank, features) in enumerate(zip(self.banks, outputs.features)):
            tokens = pool_tokens(features, grid)
            labeled, unlabeled = tokens[:num_labeled], tokens[num_labeled:]
            if student == 0:
                self.last_tokens = labeled.detach(), label_weights
            for name, value in cdba_terms(bank(labeled), label_weights, self.averaging)._asdict().items():
                add(f"scdl/{name}", value, self.weights[name])
            add("scdl/sac", sac_loss(bank, labeled, label_weights), self.weights["sac"])
            # of several ranks, one without unlabeled samples takes part in the sums over tokens all the same
            if (len(unlabeled) or world_size() > 1) and self.unlabeled_weight:
                for name, value in cdba_terms(bank(unlabeled))._asdict().items():
                    add(f"scdl/unlabeled_{name}", value, factor * self.weights[name])
        return terms
