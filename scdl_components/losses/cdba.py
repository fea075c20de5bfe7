# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""CDBA: class distributions and embeddings pulled together from both sides (arXiv 2603.05202; docs/method.md)."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from ..errors import SettingError
from ..proxies import ProxyBank, ProxyOutput
from ..tokens import tokenize
from .functional import (
    class_gaps,
    class_means,
    consensus,
    distance,
    masked_mean,
    present_classes,
    separation,
    symmetric_kl,
    token_mean,
)
from .terms import LossTerm, total

# the bank's output for tokens, and their labels w [B, L, C] or None -> unweighted terms by name
Reduction = Callable[[ProxyOutput, Tensor | None], dict[str, Tensor]]


def by_class(output: ProxyOutput, weights: Tensor | None) -> dict[str, Tensor]:
    """Compute the paper's two directions so that each class in the batch counts once, and classes stay apart.

    E2P is the cross entropy of P(c|z) with the labels; unlabeled tokens have none. P2E is over the classes that are
    there; unlabeled tokens take stop-gradient of P(c|z) as their shares of them.
    """
    shares = _shares(output, weights)
    present = present_classes(shares)
    terms = {"p2e": masked_mean(class_gaps(output.similarity, shares), present)}
    if weights is not None:
        terms["e2p"] = masked_mean(class_means(-output.log_q, shares), present)
    return terms


def by_paper(output: ProxyOutput, weights: Tensor | None) -> dict[str, Tensor]:
    """Compute the paper's terms, which merge classes in a long training (docs/method.md).

    E2P draws every token to the classes of P(c|z), labeled or not. P2E pushes away the classes that are not there.
    """
    shares = _shares(output, weights)
    return {
        "e2p": token_mean((output.log_q.exp() * distance(output.cosines)).sum(-1)),
        # without any token it is 0
        "p2e": class_gaps(output.similarity, shares).mean() * present_classes(shares).any(),
    }


def by_token(output: ProxyOutput, weights: Tensor | None) -> dict[str, Tensor]:
    """Compute the published code's terms, averages over tokens, of which background has most.

    Unlabeled tokens take stop-gradient of q ∘ r̄, normalised over classes.
    """
    similarity = output.similarity
    weights = consensus(output.log_q, output.log_r) if weights is None else weights.to(similarity.dtype)
    return {
        "separation": token_mean(separation(similarity, weights).mean(-1)),
        "distance": token_mean((weights * distance(similarity)).sum(-1)),
        "symmetric_kl": token_mean(symmetric_kl(output.log_q, output.log_r)),
    }


def _shares(output: ProxyOutput, weights: Tensor | None) -> Tensor:
    """Give the tokens' shares of the classes: their labels, or stop-gradient of P(c|z)."""
    return output.log_q.exp().detach() if weights is None else weights.to(output.similarity.dtype)


REDUCTIONS: Mapping[str, Reduction] = {"class": by_class, "paper": by_paper, "token": by_token}
WEIGHTS = {"separation": 1.0, "distance": 0.1, "symmetric_kl": 0.1, "e2p": 1.0, "p2e": 1.0}


class CDBALoss(nn.Module):
    """Class distribution bidirectional alignment: the weighted sum of a reduction's terms.

    The bundles train with it. It works in any PyTorch code; ``bank`` is a submodule, so ``loss.parameters()`` belong
    in the optimizer.

    >>> loss = CDBALoss(ProxyBank(in_channels=16, num_classes=14))
    >>> features, label = torch.randn(2, 16, 24, 24, 24), torch.randint(14, (2, 1, 24, 24, 24))
    >>> (loss(features, label) + 0.1 * loss(features)).backward()

    Args:
        bank: the class distributions, shared with :class:`~scdl_components.SACLoss` where both are used.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.
        reduction: "class", the terms e2p and p2e, each class once; "paper", the paper's own;
            "token", those of the published code (separation, distance, symmetric_kl); or a function like
            :func:`by_class`.
        weights: of terms by name; by default 1, of distance and symmetric_kl 0.1.

    Raises:
        SettingError: when there is no such reduction or term.
    """

    def __init__(
        self,
        bank: ProxyBank,
        voxels_per_token: int | Sequence[int] = 4,
        reduction: str | Reduction = "class",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(reduction, str) and reduction not in REDUCTIONS:
            raise SettingError(f"reduction={reduction!r}: expected one of {list(REDUCTIONS)}, or a function")
        if isinstance(reduction, str) and not set(weights or {}) <= set(WEIGHTS):
            raise SettingError(f"weights={weights}: expected weights of {list(WEIGHTS)}")
        self.bank = bank
        self.voxels_per_token = voxels_per_token
        self.reduction = REDUCTIONS[reduction] if isinstance(reduction, str) else reduction
        self.weights = {**WEIGHTS, **(weights or {})}

    def forward(
        self, features: Tensor, label: Tensor | None = None, spatial_size: Sequence[int] | None = None
    ) -> Tensor:
        """Compute the scalar loss.

        Args:
            features: [B, D, *S], one to three spatial axes, at the image's resolution or a lower one.
            label: [B, 1, *image] or [B, *image] class indices; None for unlabeled images.
            spatial_size: size of the image in voxels, where there is no label and the features are coarser.
        """
        tokens = tokenize(features, label, self.bank.num_classes, self.voxels_per_token, spatial_size)
        return total(self.terms(self.bank(tokens.features), tokens.weights))

    def terms(self, output: ProxyOutput, weights: Tensor | None) -> dict[str, LossTerm]:
        """Compute terms and their weights by name; arguments as of a reduction."""
        values = self.reduction(output, weights)
        return {name: LossTerm(value, self.weights.get(name, 1.0)) for name, value in values.items()}
