"""Several processes that integrate one batch: they take the same steps, and share batch norm's statistics."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor, distributed, nn

from physode.gradients import ACA, Adjoint, GradientMethod, find_gradient
from physode.gradients.kept_graphs import room_for_graphs
from physode.solvers.norms import rms_shared
from physode.typing import Norm

__all__ = ["SharedBatchNorm", "agreed", "processes", "share_batch_norm", "shared_norm"]


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
