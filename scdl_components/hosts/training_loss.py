# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The training loss: a host's losses, and SCDL's beside them."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from ..losses.scdl import SCDLLoss
from ..losses.terms import LossTerm, total
from ..networks.dual_student import DualStudent
from ..networks.features import WithFeatures
from .base import Batch, Host


class TrainingLoss(nn.Module):
    """A host with SCDL as its plug-in.

    Its ``parameters()`` are what both train: proxies, a location head.

    Args:
        host: a semi-supervised method.
        scdl: None trains the host alone.
    """

    def __init__(self, host: Host, scdl: SCDLLoss | None = None) -> None:
        super().__init__()
        self.host = host
        self.scdl = scdl

    @property
    def feature_modules(self) -> list[str]:
        """Modules of a student whose outputs are needed."""
        own = [] if self.scdl is None else [self.scdl.feature_module]
        return sorted({*self.host.feature_modules, *own})


class NetworkWithLoss(nn.Module):
    """Students and loss as one module, for torch's data parallelism.

    Args:
        network: the students.
        loss: of their training.
        compiled: wraps each student, e.g. ``torch.compile``; None for nothing.
    """

    def __init__(
        self, network: DualStudent, loss: TrainingLoss, compiled: Callable[[nn.Module], nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        students = (WithFeatures(student, loss.feature_modules) for student in network.students)
        # no submodules: they are the network's
        self.students = tuple(students if compiled is None else map(compiled, students))

    def forward(self, *batch) -> tuple[Tensor, dict[str, LossTerm], Mapping[str, Tensor]]:
        """Compute the scalar to minimise, terms and curves; arguments as of :class:`Batch`."""
        batch = Batch(*batch)
        terms, features, curves = self.loss.host(self.students, batch)
        if (scdl := self.loss.scdl) is not None:
            terms = terms | scdl([found[scdl.feature_module] for found in features], batch.label, batch.progress)
        return total(terms), terms, curves
