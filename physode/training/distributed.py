"""One process of several, as torchrun starts them; alone without it."""

from __future__ import annotations

import datetime as dt
import functools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed, nn

from physode.errors import ConfigError
from physode.gradients import ACA, Adjoint, GradientMethod, find_gradient
from physode.gradients.kept_graphs import room_for_graphs
from physode.solvers.clock import rms_shared
from physode.training.device import usable
from physode.typing import Norm

__all__ = [
    "Place",
    "SharedBatchNorm",
    "agreed",
    "end_with_torchrun",
    "joined",
    "processes",
    "share_batch_norm",
    "shared_norm",
]


_PATIENCE = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Which of the processes this is.

    Attributes
    ----------
    rank, size
        Number of this process from 0, and how many there are.
    device
        Where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process writes files: one of all does."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return this process's part of a batch.

        Raises
        ------
        ConfigError
            If the batch cannot be divided evenly.
        """
        if count % self.size:
            raise ConfigError(f"`batch` {count} must be a multiple of the number of processes, {self.size}")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """Join the processes that torchrun started, by NCCL on GPUs and gloo elsewhere; leave them at the end.

    They end with torchrun, whatever ends it.

    Raises
    ------
    ConfigError
        If the environment that torchrun sets is incomplete.
    """
    end_with_torchrun()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Place(0, 1, usable(device))
        return
    try:
        rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    except KeyError as error:
        raise ConfigError(f"WORLD_SIZE is {size}, but {error} is not set; start with torchrun") from error
    own = usable(torch.device("cuda", local) if device == "cuda" else device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Place(rank, size, own)
    finally:
        distributed.destroy_process_group()


def processes() -> int:
    """Return how many processes compute together, 1 without torch.distributed."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def shared_norm() -> Norm | None:
    """Return the norm of the whole batch's error, the largest over all processes; None where there is one process.

    All processes then accept, reject and size the same steps, those that one process with the whole batch would take:
    gradients are the same, and collective operations inside f meet. The norm has no derivative: naive back-propagation
    leaves out that of the step-size search.
    """
    return _largest_over_processes if processes() > 1 else None


def _largest_over_processes(x: Tensor) -> Tensor:
    return _agree(rms_shared(x))


def _agree(size: Tensor) -> Tensor:
    size = size.detach()
    size = torch.where(torch.isfinite(size), size, torch.inf)  # what a maximum makes of NaN depends on the backend
    distributed.all_reduce(size, op=distributed.ReduceOp.MAX)
    return size


def agreed(gradient: str | GradientMethod, device: torch.device) -> GradientMethod:
    """Return a gradient method whose backward pass makes the same evaluations in all processes.

    ACA keeps graphs within the room of the process that has least; the adjoint's backward solve takes the steps that
    the largest error of all processes asks for.
    """
    way = find_gradient(gradient)
    if isinstance(way, ACA) and way.memory == "auto":
        room = torch.tensor(room_for_graphs(device) if way.budget is None else way.budget, device=device)
        distributed.all_reduce(room, op=distributed.ReduceOp.MIN)
        return replace(way, budget=int(room))
    if isinstance(way, Adjoint) and not callable(way.norm):
        counted = 2 if way.norm == "seminorm" else None
        return replace(way, norm=functools.partial(_largest_part_over_processes, counted))
    return way


def _largest_part_over_processes(counted: int | None, parts: tuple[Tensor, ...]) -> Tensor:
    return _agree(torch.stack([rms_shared(part) for part in parts[:counted]]).amax())


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; torch's SyncBatchNorm works on GPUs only.

    The batches must be of one size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by mean and variance over all processes' batches, height and width."""
        if not self.training or processes() == 1:
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce

        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = all_reduce(wide.mean((0, 2, 3))) / processes()  # type: ignore[no-untyped-call]
        spread = (wide - mean.view(1, -1, 1, 1)).square().mean((0, 2, 3))
        variance = all_reduce(spread) / processes()  # type: ignore[no-untyped-call]
        self._move(mean.detach(), variance.detach(), count=x.numel() // x.shape[1] * processes())
        shape = (1, -1, 1, 1)
        normal = (wide - mean.view(shape)) * (variance.view(shape) + self.eps).rsqrt()
        found: Tensor = (normal * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)
        return found

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """Move the running statistics, the variance's without bias."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * (count / max(count - 1, 1))).to(self.running_var), share)


def share_batch_norm(model: nn.Module) -> nn.Module:
    """Replace batch norms by those over all processes: torch's own on GPUs, ours elsewhere. Names of weights stay."""
    if any(parameter.is_cuda for parameter in model.parameters()):
        found: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return found
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
    return model


_LOOK = 0.5  # seconds between two looks
_watching = threading.Lock()


def end_with_torchrun() -> None:
    """End this process when torchrun, which has started it, is no more.

    An agent that is killed leaves its ranks behind: they would go on, or wait for each other for ever, and keep the
    run's folder to themselves. Nothing is done where torchrun has not started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and _watching.acquire(blocking=False):  # not given back: one is enough
        threading.Thread(target=_end_without, args=(os.getppid(),), name="torchrun watch", daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
