# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of students on two-stream batches: MONAI's SupervisedTrainer with a host's losses."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn

from ..atomic import storage_errors
from ..data.two_stream import prepare_two_stream_batch
from ..distributed import all_reduce_means, lost_process_errors
from ..errors import InputError
from ..handlers.events import RunEvents
from ..hosts import Batch, NetworkWithLoss, TrainingLoss
from ..memory import memory_shortages
from .cuda_graph import GraphedLoss
from .finite import Backup, all_finite, step_where

LESS_MEMORY = (
    "Less is needed with a smaller --roi_size, --labeled_batch_size, --unlabeled_batch_size or --num_filters, in validation "
    "with --sw_batch_size 1, beside the networks with --cache_rate 0.25. To go on from a checkpoint, name what you change, "
    "e.g. --allow_changed \"['roi_size']\"; networks of another --num_filters begin with --resume never"
)


def autocast_dtype() -> torch.dtype:
    """Choose the type of mixed precision: bfloat16, or float16 where a GPU only emulates it."""
    emulated = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float16 if emulated else torch.bfloat16


class DualStudentTrainer(SupervisedTrainer):
    """Train the students of a :py:class:`~scdl_components.networks.DualStudent` on two-stream batches.

    Each iteration is one optimizer step on the sum of the host's losses and SCDL's (docs/method.md). From
    ``MODEL_COMPLETED`` on, ``engine.state.output`` is a list of dicts, one a sample, labeled ones first, as MONAI's
    handlers expect it. Each has the sample's "image" and, if it is labeled, "label". It also has three entries of the
    whole batch: "loss", the total; "scalars", the total, each term as ``<name>``, each weight as ``weight/<name>`` and
    the learning rate; and "finite". Where "finite" is False, loss or gradient held a NaN or an infinity, and the step
    changed nothing (:py:mod:`.finite`). No iteration waits for the device: these are tensors there, for handlers to
    fetch now and then. However :meth:`run` ends, ``RunEvents.ENDED`` is fired.

    Several processes (ranks) train together where ``parallel`` averages their gradients: the loss is then that of all
    ranks' batches, and so are the scalars.

    Args:
        device: where to run.
        max_epochs: passes over the loader.
        train_data_loader: :py:class:`~scdl_components.data.TwoStreamLoader`.
        network: the students.
        optimizer: over the parameters of the network and of the loss.
        loss_function: a host's and SCDL's; moved to the device.
        compile: run the students through ``torch.compile``; validation runs them as they are.
        compile_kwargs: of ``torch.compile``.
        cuda_graph: on a GPU, record the first iteration's forward and backward passes and repeat them from then on
            (:py:mod:`.cuda_graph`). Not with ``parallel``, float16, or a host that is not ``repeatable``.
        parallel: put around :class:`~scdl_components.hosts.NetworkWithLoss`, e.g.
            ``partial(torch.nn.parallel.DistributedDataParallel, ...)``.
        num_iterations: of the whole plan, which ramps follow, where it takes more than one :meth:`run` (federated
            learning); default those of ``max_epochs``.
        kwargs: further arguments of MONAI's SupervisedTrainer: train_handlers, amp, amp_kwargs, ...
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_function: TrainingLoss,
        compile: bool = False,
        compile_kwargs: Mapping[str, Any] | None = None,
        cuda_graph: bool = True,
        parallel: Callable[[nn.Module], nn.Module] | None = None,
        num_iterations: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function.to(device),
            decollate=False,
            event_names=[RunEvents, *kwargs.pop("event_names", [])],
            **{"prepare_batch": prepare_two_stream_batch, **kwargs},
        )
        network_with_loss = NetworkWithLoss(
            network, self.loss_function, partial(torch.compile, **(compile_kwargs or {})) if compile else None
        )
        self.network_with_loss = network_with_loss if parallel is None else parallel(network_with_loss)
        self._num_iterations = num_iterations
        self.graphed_loss = None
        alike = parallel is None and self.loss_function.host.repeatable and not self.needs_scaler
        if cuda_graph and alike and self.state.device.type == "cuda":
            self.graphed_loss = GraphedLoss(self._losses, network_with_loss.parameters(), network_with_loss.buffers())
        # an epoch may be one iteration, and ignite logs each; handlers show the progress
        self.logger.setLevel(logging.WARNING)
        self.add_event_handler(Events.EPOCH_STARTED, self._start_loader_here)

    def run(self) -> None:
        """Train from ``state.iteration`` to the end.

        Raises:
            StorageError: when a log or a checkpoint cannot be written.
            MemoryShortageError: when memory runs out; the message names the keys that help.
            UserError: when another process of this training has ended.
            InputError: when an epoch begins after the last planned iteration.
        """
        with lost_process_errors():
            try:
                with storage_errors(), memory_shortages(LESS_MEMORY):
                    super().run()
            finally:
                self.fire_event(RunEvents.ENDED)

    @property
    def num_iterations(self) -> int:
        """Iterations of the whole plan."""
        return self._num_iterations or self.state.max_epochs * self.state.epoch_length

    def _start_loader_here(self) -> None:
        if self.state.iteration >= self.num_iterations:
            raise InputError(
                f"all {self.num_iterations} planned iterations are done, and the learning rate has come to its end: in "
                "federated learning, num_rounds must be the server's; else see train#num_iterations"
            )
        # the loader looks at it when it starts: at the first epoch of this process, resumed or not
        self.data_loader.batch_sampler.start = self.state.iteration

    @property
    def needs_scaler(self) -> bool:
        """Whether mixed precision has gradients to scale: those of float16, as bfloat16 has float32's range."""
        return self.amp and self.amp_kwargs.get("dtype") != torch.bfloat16

    @property
    def scaler_in_use(self) -> torch.amp.GradScaler | None:
        """MONAI's gradient scaler, made when a run starts; None where it is not needed."""
        # without a GPU the scaler is off, and would step on infinities
        return self.scaler if self.needs_scaler and self.scaler is not None and self.scaler.is_enabled() else None

    def _losses(self, images: Tensor, label: Tensor, iteration: int | Tensor) -> tuple[Tensor, tuple]:
        with torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            loss, terms, curves = self.network_with_loss(images, label, iteration, self.num_iterations)
        return loss, (terms, curves)

    def _iteration(self, engine: "DualStudentTrainer", batchdata: dict) -> list[dict]:
        images, label = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        for module in (engine.network, engine.loss_function):
            if not module.training:  # train() walks through hundreds of modules
                module.train()
        engine.optimizer.zero_grad(set_to_none=True)
        batch = Batch(images, label, engine.state.iteration - 1, engine.num_iterations)
        statistics = Backup(b for m in (engine.network, engine.loss_function) for b in m.buffers())
        repeated = engine.graphed_loss is not None and engine.graphed_loss.takes(images, label)
        if repeated:
            iteration = torch.full((), batch.iteration, dtype=torch.float32, device=images.device)
            loss, (terms, curves) = engine.graphed_loss(images, label, iteration)
        else:
            loss, (terms, curves) = engine._losses(*batch[:3])
        # over all ranks, so that all decide alike whether it is finite
        total, *values = all_reduce_means([loss, *(term.value for term in terms.values())])
        engine.state.output = {Keys.IMAGE: images, Keys.LABEL: label, Keys.LOSS: total}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        scaler = engine.scaler_in_use
        if not repeated:
            (loss if scaler is None else scaler.scale(loss)).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        gradients = [p.grad for group in engine.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if scaler is not None:
            scaler.unscale_(engine.optimizer)  # it notes an infinity for its next scale
        finite = all_finite([total, *gradients])
        step_where(finite, engine.optimizer)
        statistics.restore(~finite)
        engine.loss_function.host.after_step(engine.network, batch, finite)
        if scaler is not None:
            scaler.update()
        scalars = {
            "loss": total,
            "learning_rate": engine.optimizer.param_groups[0]["lr"],
            **dict(zip(terms, values, strict=True)),
            **{f"weight/{name}": term.weight for name, term in terms.items()},
            **curves,
        }
        samples = [{Keys.IMAGE: image, Keys.LOSS: total, "finite": finite, "scalars": scalars} for image in images]
        for sample, its_label in zip(samples, label):
            sample[Keys.LABEL] = its_label
        engine.state.output = samples
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
