# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's writer, on rank zero alone."""

from collections.abc import Callable

from torch.utils.tensorboard import SummaryWriter

from ..distributed import rank
from .resume import Start


class NullWriter:
    """Write nothing, whatever it is asked for."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def summary_writer(log_dir: str, start: Start) -> SummaryWriter | NullWriter:
    """Open a TensorBoard log on rank zero; other ranks get a writer that does nothing.

    Args:
        log_dir: folder of the log.
        start: of the training; TensorBoard hides earlier entries of the iterations after it.
    """
    return SummaryWriter(log_dir, purge_step=start.iteration + 1) if rank() == 0 else NullWriter()
