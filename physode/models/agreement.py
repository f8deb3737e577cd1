"""Several processes that integrate one batch: they take the same steps, and share batch norm's statistics."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from physode.solvers.norms import rms_shared
from physode.typing import Norm

__all__ = ["SharedBatchNorm", "processes", "share_batch_norm", "shared_norm"]


def processes() -> int:
    """Return how many processes compute together, 1 without torch.distributed."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def shared_norm() -> Norm | None:
    """Return the norm of the whole batch's error, the largest over all processes; None where there is one process.

    All processes then accept, reject and size the same steps, those that one process with the whole batch would take:
    gradients are the same, and collective operations inside f meet.
    """
    return _largest_over_processes if processes() > 1 else None


def _largest_over_processes(x: Tensor) -> Tensor:
    size = rms_shared(x).detach()
    size = torch.where(torch.isfinite(size), size, torch.inf)  # what a maximum makes of NaN depends on the backend
    distributed.all_reduce(size, op=distributed.ReduceOp.MAX)
    return size


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
        moments = torch.stack([wide.mean((0, 2, 3)), wide.square().mean((0, 2, 3))])
        mean, square = all_reduce(moments) / processes()  # type: ignore[no-untyped-call]
        variance = (square - mean.square()).clamp(min=0.0)
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
