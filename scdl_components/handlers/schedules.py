# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Learning rates of a resumed training whose configuration has changed."""

from __future__ import annotations

import warnings

import torch
from torch.optim.lr_scheduler import LRScheduler


def is_schedule(item: object) -> bool:
    """Tells whether an object holds values of the config beside its state: learning rate, length of the schedule, ..."""
    return isinstance(item, (torch.optim.Optimizer, LRScheduler))


def apply_settings(item: torch.optim.Optimizer | LRScheduler, given: dict, iteration: int) -> None:
    """Puts the config's values back into a loaded optimizer or scheduler, as if it had run with them so far.

    Args:
        item: with a loaded state.
        given: its state dict as the config made it.
        iteration: done so far.
    """
    if isinstance(item, torch.optim.Optimizer):
        item.load_state_dict({"state": item.state_dict()["state"], "param_groups": given["param_groups"]})
        return
    if "base_lrs" not in given:  # no schedule of the iteration alone, e.g. ReduceLROnPlateau
        return
    for group, rate in zip(item.optimizer.param_groups, given["base_lrs"], strict=True):
        group["lr"] = group["initial_lr"] = rate
    item.load_state_dict(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the optimizer has made no step in between
        for _ in range(iteration):
            item.step()
