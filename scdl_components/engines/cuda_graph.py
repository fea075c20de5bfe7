# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A loss and its gradients as one CUDA graph: one call in place of thousands."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..errors import SettingError
from .finite import Backup

WARM_UP = 2  # runs before the recording, in which libraries choose kernels and allocate memory


class GraphedLoss:
    """Record a loss with its gradients at the first call; repeat it later.

    Repeated are the operations on the GPU, with new inputs and random numbers. No Python runs, so the function must not
    depend on anything else that changes. The graph keeps its memory for good. ``torch.cuda.make_graphed_callables``
    records for all threads, and can fail where a loader's thread pins memory meanwhile.

    Args:
        function: tensors -> (scalar loss, anything else without gradient). It never waits for the GPU.
        parameters: get their gradients at each call.
        buffers: that the function changes.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, Any]], parameters: Iterable[nn.Parameter], buffers: Iterable[Tensor]
    ) -> None:
        self.function = function
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.buffers = list(buffers)
        self.inputs: list[Tensor] = []

    def takes(self, *inputs: Tensor) -> bool:
        """Tell whether these first inputs have the recorded shapes; before the first call any have."""
        return all(x.shape == recorded.shape for x, recorded in zip(inputs, self.inputs))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        """Run the function, and set the gradients of the parameters.

        Raises:
            SettingError: the function waits for the GPU, so that it cannot be recorded.
        """
        if not self.inputs:
            self._record(inputs)
        torch._foreach_copy_(self.inputs, list(inputs))
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients):
            parameter.grad = gradient
        # the next call writes to the same memory
        return tree_map_only(Tensor, torch.clone, self.output)

    def _record(self, inputs: Sequence[Tensor]) -> None:
        device = inputs[0].device
        self.inputs = [x.clone() for x in inputs]
        before = Backup(self.buffers)
        with torch.random.fork_rng([device]):
            aside = torch.cuda.Stream(device)
            aside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._run()
                self._refuse_waits()
            torch.cuda.current_stream(device).wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            # this thread alone: the loader's goes on pinning memory
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.output, self.gradients = self._run()
        before.restore(torch.ones((), dtype=torch.bool, device=device))

    def _run(self) -> tuple[tuple[Tensor, Any], Sequence[Tensor | None]]:
        loss, others = self.function(*self.inputs)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return tree_map_only(Tensor, torch.detach, (loss, others)), gradients

    def _refuse_waits(self) -> None:
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self._run()
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            raise SettingError(
                "a loss or a network asks the GPU for a value in each iteration, so that the iteration cannot be "
                "recorded as a CUDA graph: give --train#trainer#cuda_graph False"
            ) from error
        finally:
            torch.cuda.set_sync_debug_mode(mode)
