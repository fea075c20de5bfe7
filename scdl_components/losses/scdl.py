# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""SCDL beside a host's losses: CDBALoss and SACLoss on the tokens of every student."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

from torch import Tensor, nn

from ..distributed import world_size
from ..errors import SettingError
from ..networks.priors import PriorNetwork
from ..proxies import ProxyBank, ProxyOutput
from ..tokens import Tokens, pool_labels, pool_tokens, token_grid
from .cdba import CDBALoss
from .functional import gaussian_ramp
from .sac import SACLoss
from .terms import LossTerm


class SCDLLoss(nn.Module):
    """Weighted sum of CDBA and SAC over students, unlabeled tokens in CDBA.

    It is weight · (CDBA + SAC of labeled tokens + CDBA of unlabeled ones). Every student has a proxy bank of its own,
    as features of different students have nothing in common (arXiv 2603.05202; docs/method.md).

    >>> bank = ProxyBank(in_channels=16, num_classes=14)
    >>> scdl = SCDLLoss(CDBALoss(bank), SACLoss(bank))

    Args:
        cdba: of the first student; the others get copies.
        sac: likewise, with the same bank.
        students: the networks, or how many there are. Networks with priors
            (:class:`~scdl_components.networks.PriorNetwork`) have banks already: these are trained, stay in the
            networks' parameters and state dict, and name the module of the tokens.
        feature_module: name of the module of a student whose output is pooled to tokens, the V-Net's "block_nine".
        weight: factor of everything; the paper's is 1, that of the published code 0.1.
        sac_weight: further factor of SAC.
        unlabeled_weight: further factor of what unlabeled tokens contribute, at the end of
            :func:`~scdl_components.losses.gaussian_ramp`; 0 leaves them out.

    Raises:
        SettingError: when the losses have different banks.
    """

    def __init__(
        self,
        cdba: CDBALoss,
        sac: SACLoss,
        students: int | Sequence[nn.Module] = 2,
        feature_module: str = "block_nine",
        weight: float = 1.0,
        sac_weight: float = 1.0,
        unlabeled_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if cdba.bank is not sac.bank:
            raise SettingError("SCDLLoss needs CDBALoss and SACLoss of one bank")
        number, networks = (students, []) if isinstance(students, int) else (len(students), students)
        with_banks = [network for network in networks if isinstance(network, PriorNetwork)]
        self.banks: nn.ModuleList | tuple[ProxyBank, ...]
        if with_banks:
            self.banks = tuple(network.bank for network in with_banks)  # no submodules: they are the networks'
            feature_module = with_banks[0].token_module
        else:
            cdba.bank.embedding_sigma.requires_grad_(False)  # no loss uses it, and DDP waits for every gradient
            self.banks = nn.ModuleList([cdba.bank, *(deepcopy(cdba.bank) for _ in range(number - 1))])
        # no submodules: all that they hold is the bank, and the state dict has it once
        self.losses = [deepcopy((cdba, sac), {id(cdba.bank): bank}) for bank in self.banks]
        self.feature_module = feature_module
        self.weight = weight
        self.sac_weight = sac_weight
        self.unlabeled_weight = unlabeled_weight

    def forward(self, features: Sequence[Tensor], label: Tensor, progress: float) -> dict[str, LossTerm]:
        """Compute the losses by name.

        Args:
            features: of each student, [B, D, *feature_spatial]; labeled samples come first.
            label: class indices of the labeled samples, [B_labeled, 1, *spatial].
            progress: fraction of training done.

        Raises:
            SettingError: there are more or fewer students than banks.
        """
        if len(features) != len(self.banks):
            raise SettingError(
                f"SCDL has {len(self.banks)} proxy banks and got features of {len(features)} students: give "
                "students those of the network, or their number"
            )
        factor = self.unlabeled_weight * gaussian_ramp(progress)
        terms: dict[str, LossTerm] = {}

        def add(found: Mapping[str, LossTerm], prefix: str = "scdl/", factor: float = 1.0) -> None:
            for name, (value, weight) in found.items():
                others = terms[prefix + name].value if prefix + name in terms else 0
                terms[prefix + name] = LossTerm(others + value, self.weight * factor * weight)

        number = len(label)
        first, _ = self.losses[0]
        grid = token_grid(label.shape[2:], first.voxels_per_token)
        weights = pool_labels(label, first.bank.num_classes, grid)
        for (cdba, sac), found in zip(self.losses, features):
            tokens = pool_tokens(found, grid)
            # of several ranks, one without unlabeled samples takes part in the sums over tokens all the same
            with_unlabeled = self.unlabeled_weight and (len(tokens) > number or world_size() > 1)
            # one pass through the bank for both: a GPU spends its time on starting the many small kernels
            output = cdba.bank(tokens if with_unlabeled else tokens[:number])
            parts = zip(*(values.tensor_split([number]) for values in output))
            of_labeled, of_unlabeled = (ProxyOutput(*part) for part in parts)
            add(cdba.terms(of_labeled, weights))
            add({"sac": LossTerm(sac.value(Tokens(tokens[:number], weights)), self.sac_weight)})
            if with_unlabeled:
                add(cdba.terms(of_unlabeled, None), "scdl/unlabeled_", factor)
        return terms
