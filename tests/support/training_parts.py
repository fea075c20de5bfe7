# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Students, objective and optimizer as the bundle has them, small."""

from __future__ import annotations

import torch
from torch import nn

from scdl_components.errors import UserError
from scdl_components.losses import (
    CDBALoss,
    CrossPseudoSupervisionTerm,
    DualStudentLoss,
    GACELoss,
    GADiceLoss,
    SACLoss,
    SCDLTerm,
    SupervisedTerm,
)
from scdl_components.memory import MemoryCheck
from scdl_components.networks import DualStudent, VNet
from scdl_components.proxies import ProxyBank

NUM_CLASSES = 14


def training_parts(
    num_filters: int, student: nn.Module | None = None, feature_module: str = "block_nine"
) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, str, int]:
    """Network, loss function, optimizer, feature_module and num_classes."""
    network = DualStudent(student or VNet(1, NUM_CLASSES, num_filters))
    bank = ProxyBank(num_filters, NUM_CLASSES)
    loss_function = DualStudentLoss(
        [
            SupervisedTerm({"ga_ce": GACELoss(top_k=10), "ga_dice": GADiceLoss()}),
            CrossPseudoSupervisionTerm(GACELoss(top_k=100)),
            SCDLTerm(CDBALoss(bank), SACLoss(bank)),
        ]
    )
    parameters = [*network.parameters(), *loss_function.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)
    return network, loss_function, optimizer, feature_module, NUM_CLASSES


def refusal() -> dict[str, str]:
    """What a rank is told whose students have synchronised batch norm and a patch that cannot fit."""
    network, *others = training_parts(num_filters=2)
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    check = MemoryCheck(network, *others, (960, 960, 960), 4, 2, 8, "cpu", False, torch.bfloat16)
    try:
        check.run()
    except UserError as error:
        return {"kind": type(error).__name__, "told": str(error), "batch": str(list(check.setting[1:3]))}
    return {}
