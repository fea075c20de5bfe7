# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's writer, on the first of several processes."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.tensorboard import SummaryWriter

from ..distributed import rank


class NullWriter:
    """Writes nothing, whatever it is asked for."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def summary_writer(log_dir: str, purge_step: int) -> SummaryWriter | NullWriter:
    """Open a TensorBoard log on rank zero; other ranks get a writer that does nothing.

    Args:
        log_dir: folder of the log.
        purge_step: what is there from this step on is hidden.
    """
    return SummaryWriter(log_dir, purge_step=purge_step) if rank() == 0 else NullWriter()
