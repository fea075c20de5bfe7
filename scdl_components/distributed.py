# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Communication between the processes (ranks) of one training; a single process needs none.

The loss of the whole batch is the mean of the ranks' losses, for that is what DistributedDataParallel makes of their
gradients. A sum over tokens or voxels is therefore divided by a count *averaged* over ranks (:func:`count_per_rank`).
A loss that is no mean takes sums over all ranks, with their gradient (:func:`all_reduce_sum`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import InputError, UserError

Function = TypeVar("Function", bound=Callable)
_alone = False


def world_size() -> int:
    """Count the processes that train together."""
    return dist.get_world_size() if not _alone and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, 0 for the first."""
    return dist.get_rank() if world_size() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """Treat this rank as the only one, for what it computes by itself."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def share(batch_size: int, name: str) -> range:
    """Choose this rank's samples of a batch.

    Args:
        batch_size: samples of the whole batch.
        name: its key in the config, for the message.

    Returns:
        Their indices.

    Raises:
        InputError: when ranks would have different numbers of samples.
    """
    ranks = world_size()
    if batch_size % ranks:
        raise InputError(
            f"{name}={batch_size} cannot be shared by {ranks} processes: it counts the samples of all together. Give a "
            f"multiple of {ranks}, e.g. --{name} {-(-batch_size // ranks) * ranks}, or another number of processes"
        )
    size = batch_size // ranks
    return range(rank() * size, (rank() + 1) * size)


class _AllReduceSum(torch.autograd.Function):
    """Sum over ranks with the gradient of the sum of all losses; torch.distributed.nn's is deprecated."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return _reduced(values, dist.ReduceOp.SUM)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        # DistributedDataParallel averages over ranks afterwards, which makes it the gradient of the mean loss
        return _reduced(grad, dist.ReduceOp.SUM)


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    result = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result, operation)
    return result


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum a tensor of one shape over ranks, with a gradient."""
    return values if world_size() == 1 else _AllReduceSum.apply(values)


def count_per_rank(count: Tensor) -> Tensor:
    """Average a count over ranks; a total of 0 counts as 1.

    The mean over ranks of (local sum / this) is total sum / total count.
    """
    total = all_reduce_sum(count).clamp_min(1)
    return total if world_size() == 1 else total / world_size()


def all_reduce_means(values: Sequence[Tensor]) -> list[Tensor]:
    """Average scalars over ranks, without gradient, in one exchange."""
    if world_size() == 1:
        return [value.detach() for value in values]
    stacked = torch.stack([value.detach().float() for value in values])
    return list(_reduced(stacked, dist.ReduceOp.SUM) / world_size())


def largest_of_all(values: Tensor, percent: float) -> Tensor:
    """Find which of this rank's values are among the largest of all ranks.

    Args:
        values: [N], N may differ between ranks; without gradient.
        percent: share of all ranks' values to take; their number is rounded down.

    Returns:
        Indices into ``values``.
    """
    if world_size() == 1:
        return torch.topk(values, int(values.numel() * percent / 100), sorted=False).indices
    number = int(int(all_reduce_sum(values.new_full((), values.numel(), dtype=torch.int64))) * percent / 100)
    candidates, places = torch.topk(values.detach(), min(number, values.numel()))
    # every rank sends as many as are taken in all: one rank may have all of the largest
    padded = candidates.new_full((number,), -torch.inf)
    padded[: candidates.numel()] = candidates
    gathered = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(gathered, padded)
    chosen = torch.topk(torch.cat(gathered), number, sorted=False).indices - rank() * number
    return places[chosen[(chosen >= 0) & (chosen < candidates.numel())]]


def highest(number: int) -> int:
    """Find the highest of the ranks' numbers."""
    if world_size() == 1:
        return number
    values = torch.tensor(number, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    return int(_reduced(values, dist.ReduceOp.MAX))


def from_rank_zero(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors of every rank by the first one's."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def on_rank_zero(function: Function) -> Function:
    """Let rank zero alone call a function; the others wait for its result or error."""

    @wraps(function)
    def call(*args, **kwargs):
        if world_size() == 1:
            return function(*args, **kwargs)
        outcome: list[Any] = [None, None]
        if rank() == 0:
            try:
                with alone():  # nothing in here waits for the other ranks
                    outcome[0] = function(*args, **kwargs)
            except Exception as error:
                kind = UserError if isinstance(error, UserError) else RuntimeError
                dist.broadcast_object_list([None, kind(str(error))])
                raise
        with lost_process_errors():
            dist.broadcast_object_list(outcome)
        result, failure = outcome
        if failure is not None:
            failure.shown_elsewhere = True
            raise failure
        return result

    return cast(Function, call)


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Turn torch.distributed's errors into :py:class:`UserError` where another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no error class of its own
        if world_size() == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise UserError(
            f"process {rank()} ends because another one of this training's {world_size()} has ended or cannot be "
            f"reached ({str(error).splitlines()[0]}). See what that one said last, mend it and run the same command "
            "again: training goes on from the last checkpoint"
        ) from error
