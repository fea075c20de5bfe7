# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The proxy bank: one learned distribution per class in an embedding space (docs/method.md)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SettingError
from ..tokens import full_precision


class ProxyOutput(NamedTuple):
    """Tokens compared with the classes.

    Attributes:
        similarity: [B, L, C], mean cosine between a token and the samples of a class (a in docs/method.md).
        cosines: [B, L, C], with the class means.
        log_q: [B, L, C], log of the embedding→proxy assignment, the softmax over classes of cosines / ``tau``.
        log_r: likewise proxy→embedding, with ``tau_p2e``.
    """

    similarity: Tensor
    cosines: Tensor
    log_q: Tensor
    log_r: Tensor


class ProxyBank(nn.Module):
    """Encoder of tokens and a Gaussian N(μ_c, σ_c²) of each class.

    The embeddings of tokens are compared with the classes. Under autocast all is computed in float32, in float64 for a
    float64 bank.

    >>> bank = ProxyBank(in_channels=16, num_classes=14)
    >>> bank(torch.randn(2, 27, 16)).similarity.shape
    torch.Size([2, 27, 14])

    Args:
        in_channels: D, channels of the tokens (of the host's feature map).
        num_classes: C, background included.
        embed_dim: Z.
        num_samples: S, samples drawn per class.
        num_embedding_samples: E, samples drawn per token by :meth:`embedding_samples`.
        dropout: rate, below 1, after each of the encoder's two hidden layers, while training.
        initial_sigma: spread of the classes at the start, about. Published is log 2 = 0.69, with which samples are
            noise: in 64 dimensions a sample is 5.5 away from its mean, whose length is 1.
        tau: temperature of P(c|z), the softmax over classes of the cosines with their means.
        tau_p2e: temperature of the published code's proxy→embedding assignment, which is a softmax over classes, too;
            None: ``tau``, with which both assignments are the same.

    Raises:
        SettingError: when ``dropout`` is not in [0, 1), or a temperature is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        embed_dim: int = 64,
        num_samples: int = 50,
        num_embedding_samples: int = 2,
        dropout: float = 0.2,
        initial_sigma: float = 0.05,
        tau: float = 0.2,
        tau_p2e: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise SettingError(f"dropout={dropout}: a rate in [0, 1), e.g. 0.2")
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.num_samples = num_samples
        self.num_embedding_samples = num_embedding_samples
        self.tau = tau
        self.tau_p2e = tau if tau_p2e is None else tau_p2e
        if not min(self.tau, self.tau_p2e) > 0:
            raise SettingError(f"tau={tau}, tau_p2e={tau_p2e}: a temperature must be positive, e.g. 0.2")
        hidden = 2 * embed_dim
        # dropout before ReLU is the same function as after it, and leaves one hidden map to keep instead of two
        self.encoder = nn.Sequential(
            nn.Linear(in_channels, hidden),
            nn.Dropout(dropout, inplace=True),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.Dropout(dropout, inplace=True),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, embed_dim),
        )
        self.proxies = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_classes, 2 * embed_dim)))
        with torch.no_grad():
            self.proxies[:, embed_dim:] += math.log(math.expm1(initial_sigma))
        self.embedding_sigma = nn.Parameter(torch.full((embed_dim,), 0.05))

    @property
    def mu(self) -> Tensor:
        """Class means μ, [C, Z]."""
        return self.proxies[:, : self.embed_dim]

    @property
    def sigma(self) -> Tensor:
        """Class spreads σ = softplus(ρ), [C, Z]."""
        return F.softplus(self.proxies[:, self.embed_dim :])

    def encode(self, tokens: Tensor) -> Tensor:
        """Embed tokens [..., D] as [..., Z]."""
        with _autocast_off(tokens):
            # as rows: in-place layers after a Linear of rank 3 work on a view, which costs three copies each
            return self.encoder(full_precision(tokens).flatten(0, -2)).unflatten(0, tokens.shape[:-1])

    @torch.no_grad()
    def encode_target(self, tokens: Tensor) -> Tensor:
        """Embed tokens as fixed targets: without gradient, and without dropout in training, too."""
        layers = (layer for layer in self.encoder if not isinstance(layer, nn.Dropout))
        return nn.Sequential(*layers)(tokens)

    def sample_proxies(self, noise: Tensor | None = None) -> Tensor:
        """Sample μ_c + σ_c ∘ ε, [C, S, Z]; ε is drawn unless given."""
        if noise is None:
            noise = self.mu.new_empty(self.num_classes, self.num_samples, self.embed_dim).normal_()
        return self.mu[:, None] + self.sigma[:, None] * noise

    def embedding_samples(self, embeddings: Tensor, noise: Tensor | None = None) -> Tensor:
        """Sample around embeddings [B, L, Z], as [B, L, E, Z].

        z + ε ∘ σ_emb, L2-normalised; ε is drawn unless given.
        """
        with _autocast_off(embeddings):
            embeddings = full_precision(embeddings)
            if noise is None:
                shape = (*embeddings.shape[:2], self.num_embedding_samples, self.embed_dim)
                noise = embeddings.new_empty(shape).normal_()
            return F.normalize(embeddings[:, :, None] + noise * self.embedding_sigma, dim=-1)

    def similarity(self, embeddings: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute cosines of embeddings [B, L, Z] with class samples and class means.

        The cosine is linear in the normalised sample, so the mean of the cosines with S samples is one product with the
        mean of the normalised samples: no [B, C, L, S] tensor, the same value and gradient. In evaluation no samples
        are drawn, unless ``noise`` is given: their expected direction takes the place of that mean.

        Returns:
            Two tensors [B, L, C]: mean over the samples (a), and with the mean μ.
        """
        with _autocast_off(embeddings):
            means = full_precision(self.mu)
            if self.training or noise is not None:
                sampled = F.normalize(full_precision(self.sample_proxies(noise)), dim=-1).mean(1)
            else:
                sampled = expected_direction(means, full_precision(self.sigma))
            directions = torch.cat([sampled, F.normalize(means, dim=-1)])
            cosines = F.normalize(full_precision(embeddings), dim=-1) @ directions.T
        to_samples, to_means = cosines.chunk(2, dim=-1)
        return to_samples, to_means

    def token_direction(self, embeddings: Tensor) -> Tensor:
        """Average the :meth:`embedding_samples` of embeddings [B, L, Z]; in evaluation their expectation."""
        if self.training:
            return self.embedding_samples(embeddings).mean(2)
        return expected_direction(embeddings, self.embedding_sigma)

    def priors(self, tokens: Tensor, names: Sequence[str]) -> Tensor:
        """Make priors of tokens for a host's decoder, [B, L, len(names) * Z].

        Args:
            tokens: [B, L, D].
            names: which of ``PRIORS``, in the order in which they are concatenated.
        """
        embeddings = self.encode(tokens)
        with _autocast_off(embeddings):
            embeddings = full_precision(embeddings)
            return torch.cat([PRIORS[name](self, embeddings) for name in names], dim=-1)

    def forward(self, tokens: Tensor, noise: Tensor | None = None) -> ProxyOutput:
        """Encode tokens and compare them with every class.

        Args:
            tokens: [B, L, D].
            noise: ε of the proxy samples, [C, S, Z]; drawn if None.
        """
        similarity, cosines = self.similarity(self.encode(tokens), noise)
        log_q, log_r = ((cosines / tau).log_softmax(-1) for tau in (self.tau, self.tau_p2e))
        return ProxyOutput(similarity, cosines, log_q, log_r)


def class_prior(cosines: Tensor, means: Tensor, tau: float) -> Tensor:
    """Average class directions, weighted by a softmax over classes.

    Args:
        cosines: of tokens with the classes, [B, L, C].
        means: μ, [C, Z].
        tau: temperature.

    Returns:
        Σ_c softmax_c(cos / τ) μ̂_c, [B, L, Z].
    """
    return (cosines / tau).softmax(-1) @ F.normalize(full_precision(means), dim=-1)


def expected_direction(means: Tensor, sigma: Tensor) -> Tensor:
    """Estimate the mean of normalised samples of N(mean, σ²), [..., Z] all.

    It is mean / sqrt(|mean|² + |σ|²). In many dimensions the squared length of a sample hardly differs from its mean
    |mean|² + |σ|², so that the mean of the quotient is that of the numerator over it.
    """
    return means / (means.square().sum(-1, keepdim=True) + sigma.square().sum(-1, keepdim=True)).sqrt()


# name -> prior [B, L, Z] of embeddings [B, L, Z] (docs/method.md)
PRIORS: Mapping[str, Callable[[ProxyBank, Tensor], Tensor]] = {
    "distribution": lambda bank, z: class_prior(bank.similarity(z)[0], bank.mu, bank.tau),
    "center": lambda bank, z: class_prior(bank.similarity(z)[1], bank.mu, bank.tau),
    "samples": lambda bank, z: bank.token_direction(z),
    "published": lambda bank, z: F.normalize(class_prior(bank.similarity(z)[1], bank.mu, bank.tau_p2e), dim=-1),
}


def _autocast_off(tensor: Tensor) -> torch.autocast:
    """Turn autocast off: norms, exponents and divergences need float32."""
    return torch.autocast(tensor.device.type, enabled=False)
