# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Curves of the proxies in TensorBoard: spreads, cosines and assigned tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from ..distributed import alone
from ..losses import SCDLLoss
from ..proxies import ProxyBank
from ..tokens import Tokens


class TensorBoardProxyHandler:
    """Write spreads, cosines and token counts of the classes to TensorBoard.

    These are the spread σ of each class, the cosines between class means, and the number of labeled tokens of each
    class, by label and by assignment; all of the first student. Without :class:`SCDLLoss` nothing is written.

    Args:
        summary_writer: where to.
        class_names: names by class index, background first.
        interval: iterations between two looks.
    """

    def __init__(self, summary_writer: SummaryWriter, class_names: Sequence[str], interval: int) -> None:
        self.writer = summary_writer
        self.class_names = list(class_names)
        self.interval = interval
        self.term: SCDLLoss | None = None
        self.seen: list[Tokens] = []  # labeled tokens of the iteration that is shown

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED(every=self.interval), self._watch)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def _start(self, engine: Engine) -> None:
        self.term = next((part for part in engine.loss_function.modules() if isinstance(part, SCDLLoss)), None)

    def _watch(self) -> None:
        if self.term is None:
            return

        @torch.no_grad()
        def keep(term: SCDLLoss, inputs: tuple, terms: dict) -> None:
            hook.remove()
            self.seen = [term.tokens(*inputs[:2])[0]]

        hook = self.term.register_forward_hook(keep)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        if not self.seen:
            return
        step, bank, tokens = engine.state.iteration, self.term.banks[0], self.seen.pop()
        embeddings = bank.encode_target(tokens.features[: len(tokens.weights)])
        if not embeddings.isfinite().all():  # the step of such a batch is undone
            return
        with alone():  # of several ranks, only one draws
            q = (bank.similarity(embeddings)[1] / bank.tau).softmax(-1)
        curves = {
            "spread": bank.sigma.mean(1),
            "tokens_by_label": tokens.weights.sum((0, 1)),
            "tokens_by_assignment": q.sum((0, 1)),
        }
        for name, values in curves.items():
            for class_name, value in zip(self.class_names, values.tolist()):
                self.writer.add_scalar(f"proxies_{name}/{class_name}", value, step)
        self.writer.add_figure("proxies/cosines", self._cosines(bank), step)
        self.writer.flush()

    def _cosines(self, bank: ProxyBank) -> Figure:
        means = F.normalize(bank.mu, dim=-1).cpu()
        figure = Figure(figsize=(7, 7), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        picture = axes.imshow(means @ means.T, vmin=-1, vmax=1, cmap="coolwarm")
        axes.set_xticks(range(len(means)), self.class_names, rotation=90)
        axes.set_yticks(range(len(means)), self.class_names)
        figure.colorbar(picture, label="cosine between class means")
        return figure
