"""The record of a solve: its accepted steps. From it outputs, gradients and Jacobians are computed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from physode.solvers.grid import Grid
from physode.solvers.norms import all_finite
from physode.solvers.numbers import Number, as_float, detached
from physode.status import Status

__all__ = ["Trajectory", "Wanted"]


@dataclass
class Trajectory:
    """The accepted steps of a solve.

    With shared steps times are 0-dimensional; with per-sample steps they are ``(batch,)`` and a step in which a sample
    was rejected or finished has size 0 for it and leaves its state alone.

    Attributes
    ----------
    starts, sizes, ends
        Each step's start, signed size and end: floats, or float64 tensors.
    nodes
        The states between steps, one more than there are steps; empty tensors in place of those forgotten.
    dense
        Each step's interpolant coefficients; None where no output lies inside the step.
    status, ended
        Why and when each group ended.
    accepted, rejected
        Steps counted per group.
    proposed
        The size, positive, that the controller would have tried next.
    """

    starts: list[Number] = field(default_factory=list)
    sizes: list[Number] = field(default_factory=list)
    ends: list[Number] = field(default_factory=list)
    nodes: list[Tensor] = field(default_factory=list)
    dense: list[Tensor | None] = field(default_factory=list)
    status: Tensor = field(default_factory=lambda: torch.tensor(0, dtype=torch.int8))
    ended: Tensor = field(default_factory=lambda: torch.tensor(0.0, dtype=torch.float64))
    accepted: Number = 0
    rejected: Number = 0
    proposed: Tensor | None = None

    defers: ClassVar[bool] = True
    """Whether a step's interpolant may be filled in after later steps were recorded."""

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends as tensors, ``(steps, *groups)``."""
        if not self.starts:
            none = self.ended.new_empty(0, *self.ended.shape)
            return Grid(none, none, none)
        return Grid(*(self._stacked(values) for values in (self.starts, self.sizes, self.ends)))

    def _stacked(self, values: list[Number]) -> Tensor:
        if isinstance(values[0], Tensor):
            return torch.stack(values)
        return torch.tensor(values, dtype=torch.float64, device=self.ended.device)

    def append(self, start: Number, size: Number, end: Number, node: Tensor, dense: Tensor | None) -> None:
        """Record an accepted step."""
        self.starts.append(start)
        self.sizes.append(size)
        self.ends.append(end)
        self.nodes.append(node)
        self.dense.append(dense)

    def thin(self, wanted: Wanted) -> None:
        """Forget the last state but two where neither outputs nor gradients need it; the last step is always whole."""
        if len(self) > 2 and wanted.forgets(self.starts[-3], self.ends[-2]):
            self.nodes[-3] = self.nodes[-3].new_empty(0)

    def count(self, accepted: Number, rejected: Number) -> None:
        """Count steps and rejected attempts, per group."""
        self.accepted = self.accepted + accepted
        self.rejected = self.rejected + rejected

    def end(self, groups: Number, reason: Tensor | int, t: Number) -> None:
        """Name why some groups ended early, and when."""
        if groups is False:
            return
        if not isinstance(groups, Tensor):
            groups = torch.ones_like(self.status, dtype=torch.bool)
        codes = reason if isinstance(reason, Tensor) else torch.full_like(self.status, reason)
        self.status = torch.where(groups, codes.to(torch.int8), self.status)
        self.ended = torch.where(groups, detached(t), self.ended)

    def finish(self, proposed: Number) -> None:
        """Note the size that would have been tried next; counts become tensors."""
        device = self.ended.device
        self.proposed = torch.as_tensor(proposed, dtype=torch.float64, device=device)
        self.accepted, self.rejected = (torch.as_tensor(n, device=device) for n in (self.accepted, self.rejected))

    def __len__(self) -> int:
        return len(self.starts)

    def close(self) -> None:
        """Name the groups whose state is not finite although no step noticed: an overflow, or a fixed-step method."""
        if all_finite(self.nodes[-1]) or not self.starts:
            return
        for end, node in zip([*self.starts[:1], *self.ends], self.nodes, strict=True):
            bad = ~torch.isfinite(node)
            bad = bad.reshape(len(bad), -1).any(1) if self.status.ndim else bad.any()
            new = bad & (self.status != Status.NON_FINITE)
            self.end(new, int(Status.NON_FINITE), end)


@dataclass(frozen=True)
class Wanted:
    """Which outputs are wanted, asked by the loop to keep no more than outputs and gradients need.

    ``times``: those of shared steps, sorted along the solve's direction; empty where every output is at a step's end;
    None where every step's interpolant is kept. ``nodes``: whether every state is kept.
    """

    times: list[float] | None
    direction: float = 1.0
    nodes: bool = True

    def inside(self, start: Number, end: Number) -> bool:
        """Whether an output lies strictly inside the step."""
        if self.times is None or not self.times:
            return self.times is None
        low, high = self.direction * as_float(start), self.direction * as_float(end)
        return bisect_right(self.times, low) < bisect_left(self.times, high)

    def forgets(self, start: Number, end: Number) -> bool:
        """Whether the state between two steps, that span this interval, is of no use any more."""
        if self.nodes or not self.times:
            return False
        low, high = self.direction * as_float(start), self.direction * as_float(end)
        return bisect_left(self.times, low) == bisect_right(self.times, high)
