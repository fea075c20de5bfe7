# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Feature enhancement: priors of the proxies in the decoder (docs/method.md)."""

import threading
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.utils import ensure_tuple
from torch import Tensor, nn

from ..errors import InputError, SettingError, tell_user_errors
from ..proxies import PRIORS, ProxyBank
from ..tokens import pool_tokens, token_grid
from .features import find_module


class PriorNetwork(nn.Module):
    """A network whose decoder gets the priors of its own tokens.

    Wrappers replace the module that the tokens come from and those that the priors are added to. Each place has a
    projection of its own, a 1³ convolution without bias. It is applied to the tokens before they are upsampled, which
    is equal and cheaper. Projections start at zero, so that training begins with the network as it is.

    >>> bank = ProxyBank(in_channels=16, num_classes=14)
    >>> network = PriorNetwork(VNet(in_channels=1, out_channels=14, num_filters=2), bank)
    >>> network(torch.rand(2, 1, 32, 32, 32)).shape
    torch.Size([2, 14, 32, 32, 32])

    Args:
        network: any segmentation network [B, in, *spatial] -> [B, num_classes, *spatial]; it is changed.
        bank: with as many ``in_channels`` as the tokens have.
        at: names of modules whose outputs get the priors -> channels of these outputs; or a name of the network's own
            table, of the V-Net "head" (the last decoder features), "stages" (of the decoder) or "bottleneck".
        tokens: name of the module whose output is pooled to tokens; it runs before those of ``at``, or is one of them.
        priors: which of ``scdl_components.proxies.PRIORS``.
        voxels_per_token: edge of a token in voxels of the image, one number or one per axis.

    Raises:
        InputError: there is no such module, place or prior.
    """

    def __init__(
        self,
        network: nn.Module,
        bank: ProxyBank,
        at: str | Mapping[str, int] = "stages",
        tokens: str = "block_four",
        priors: str | Sequence[str] = ("distribution", "center", "samples"),
        voxels_per_token: int | Sequence[int] = 8,
    ) -> None:
        super().__init__()
        priors, places = ensure_tuple(priors), prior_places(network, at)
        if not priors or not set(priors) <= set(PRIORS):
            raise InputError(f"priors is {list(priors)}; expected some of {list(PRIORS)}")
        # all before one of them is replaced
        source = find_module(network, tokens, "feature_module")
        targets = {name: find_module(network, name, "prior_places") for name in places}
        self.network = network
        self.bank = bank
        self.voxels_per_token = voxels_per_token
        bank.embedding_sigma.requires_grad_("samples" in priors)  # torch's data parallelism waits for every gradient
        self.exchange = _Exchange()
        for name, module in targets.items():
            projection = nn.Linear(len(priors) * bank.embed_dim, places[name], bias=False)
            nn.init.zeros_(projection.weight)
            _replace(network, module, _WithPrior(module, projection, self.exchange, (name, tokens)))
        maker = _WithTokens(source, bank, priors, self.exchange)
        _replace(network, source, maker)
        # whose output are the tokens before anything is added
        self.token_module = next(name for name, module in self.named_modules() if module is maker)

    def get_submodule(self, target: str) -> nn.Module:
        """Get a module by name, or by its name in the network."""
        own = target.split(".")[0] in ("", *self._modules)
        return super().get_submodule(target) if own else self.network.get_submodule(target)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of an image x [B, in_channels, *spatial]."""
        self.exchange.prior = None
        self.exchange.grid = token_grid(x.shape[2:], self.voxels_per_token)
        logits = self.network(x)
        self.exchange.prior = None
        return logits

    def __prepare_scriptable__(self) -> nn.Module:
        with tell_user_errors():
            raise InputError(
                "a network with priors is exported by tracing: add --use_trace True --input_shape [1,1,96,96,96], the size "
                "of the windows (roi_size)"
            )


def prior_places(network: nn.Module, at: str | Mapping[str, int]) -> Mapping[str, int]:
    """Look up a named place: modules that get priors -> their channels.

    Raises:
        InputError: the network has no such place.
    """
    if isinstance(at, Mapping):
        return at
    known = getattr(network, "prior_places", {})
    if at not in known:
        raise InputError(
            f"prior_places is {at!r}; {type(network).__name__} has {list(known) or 'no places of its own'}: give modules "
            "and the channels of their outputs, e.g. \"{'up_layers.0': 16}\""
        )
    return known[at]


class _Exchange(threading.local):
    """Carry the priors to where they are added, within a forward pass of a thread."""

    prior: Tensor | None = None  # [B, L, K Z]
    grid: tuple[int, ...] = ()

    def __reduce__(self):  # a copy starts empty
        return type(self), ()


class _WithTokens(nn.Module):
    """A module whose output becomes the priors."""

    def __init__(self, module: nn.Module, bank: ProxyBank, names: Sequence[str], exchange: _Exchange) -> None:
        super().__init__()
        self.module = module
        self.banks = (bank,)  # no submodule: it is the network's
        self.names = names
        self.exchange = exchange

    def forward(self, *args):
        output = self.module(*args)
        (bank,) = self.banks
        tokens = pool_tokens(output, self.exchange.grid)
        if tokens.shape[-1] != bank.encoder[0].in_features:
            raise SettingError(
                f"the tokens' module has {tokens.shape[-1]} channels: set proxy_bank#in_channels to that, which is "
                f"{bank.encoder[0].in_features}"
            )
        self.exchange.prior = bank.priors(tokens, self.names)
        return output


class _WithPrior(nn.Module):
    """A module to whose output [B, channels, *S] the priors are added."""

    def __init__(self, module: nn.Module, projection: nn.Linear, exchange: _Exchange, names: tuple[str, str]) -> None:
        super().__init__()
        self.module = module
        self.projection = projection
        self.exchange = exchange
        self.names = names

    def forward(self, *args):
        output = self.module(*args)
        prior, (place, tokens) = self.exchange.prior, self.names
        if prior is None:
            raise SettingError(
                f"a prior is to be added at {place}, which runs before {tokens}, whose output it is made of: name an "
                "earlier feature_module, or later prior_places"
            )
        channels = self.projection.out_features
        if output.shape[1] != channels:
            raise SettingError(f"prior_places says {place} has {channels} channels; it has {output.shape[1]}")
        small = self.projection(prior).to(output.dtype).transpose(1, 2).unflatten(2, self.exchange.grid)
        return output + resample(small, output.shape[2:])


def resample(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resample [B, C, *S] to [B, C, *size] linearly along each axis.

    As ``F.interpolate`` without align_corners, but axis by axis, as products with small matrices: a CPU is slow at
    torch's trilinear kernel.
    """
    last = values.ndim - 1  # ONNX takes no axis from the end
    for axis, target in enumerate(size, start=2):
        number = values.shape[axis]
        identity = torch.eye(number, dtype=torch.promote_types(values.dtype, torch.float32), device=values.device)
        weights = F.interpolate(identity[None], size=target, mode="linear", align_corners=False)[0]
        values = (values.transpose(axis, last) @ weights.to(values.dtype)).transpose(axis, last)
    return values


def _replace(network: nn.Module, module: nn.Module, wrapper: nn.Module) -> None:
    """Put a wrapper in place of a module, under every name: MONAI's DynUNet has two."""
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is module:
                parent._modules[name] = wrapper
