"""The record of a solve: its accepted steps. From it outputs, gradients and Jacobians are computed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.clock import Grid, Number, Verdict, all_finite, as_float, detached, stacked, tensor_beside
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step, end_derivative, interpolant, take_step
from physode.status import Status

__all__ = ["EVERY_NODE", "End", "NodeStore", "SavePolicy", "Trace"]


@dataclass
class Trace:
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
    proposed
        The size, positive, that the controller would have tried next.
    grid
        Steps that were given beforehand, as they were taken, with their graph; None for adaptive ones.
    times
        The times that outputs are read at, ``(rows, *groups)``, with their graph.
    """

    starts: list[Number] = field(default_factory=list)
    sizes: list[Number] = field(default_factory=list)
    ends: list[Number] = field(default_factory=list)
    nodes: list[Tensor] = field(default_factory=list)
    dense: list[Tensor | None] = field(default_factory=list)
    status: Tensor = field(default_factory=lambda: torch.tensor(0, dtype=torch.int8))
    ended: Tensor = field(default_factory=lambda: torch.tensor(0.0, dtype=torch.float64))
    proposed: Tensor | None = None
    grid: Grid | None = None
    times: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    _accepted: Number = 0
    _rejected: Number = 0

    @property
    def accepted(self) -> Tensor:
        """Steps, counted per group."""
        return torch.as_tensor(self._accepted, device=self.ended.device)

    @property
    def rejected(self) -> Tensor:
        """Rejected attempts, counted per group."""
        return torch.as_tensor(self._rejected, device=self.ended.device)

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends as tensors, ``(steps, *groups)``."""
        if not self.starts:
            none = self.ended.new_empty(0, *self.ended.shape)
            return Grid(none, none, none)
        return Grid(*(stacked(values, self.ended.device) for values in (self.starts, self.sizes, self.ends)))

    def append(self, start: Number, size: Number, end: Number, node: Tensor, dense: Tensor | None) -> None:
        """Record an accepted step."""
        self.starts.append(start)
        self.sizes.append(size)
        self.ends.append(end)
        self.nodes.append(node)
        self.dense.append(dense)

    def thin(self, wanted: SavePolicy) -> None:
        """Forget the last state but two where neither outputs nor gradients need it; the last step is always whole."""
        if len(self) > 2 and wanted.forgets(self.starts[-3], self.ends[-2]):
            self.nodes[-3] = self.nodes[-3].new_empty(0)

    def count(self, accepted: Number, rejected: Number) -> None:
        """Count steps and rejected attempts, per group."""
        self._accepted = self._accepted + accepted
        self._rejected = self._rejected + rejected

    def end(self, groups: Verdict, reason: Number, t: Number) -> None:
        """Name why some groups ended early, and when."""
        if groups is False:
            return
        if not isinstance(groups, Tensor):
            groups = torch.ones_like(self.status, dtype=torch.bool)
        codes = reason if isinstance(reason, Tensor) else torch.full_like(self.status, reason)
        self.status = torch.where(groups, codes.to(torch.int8), self.status)
        self.ended = torch.where(groups, detached(t), self.ended)

    def finish(self, proposed: Number) -> None:
        """Note the size that would have been tried next."""
        self.proposed = torch.as_tensor(proposed, dtype=torch.float64, device=self.ended.device)

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
class SavePolicy:
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


class End(NamedTuple):
    """What a loop goes on from: the state at a step's end, the derivative there, the step's interpolant."""

    y: Tensor
    k: Tensor | None
    dense: Tensor | None


class NodeStore:
    """Takes the steps of a loop, and decides what of them is kept for the pass back.

    This one keeps the state of every node, evaluates what is asked for and nothing else, and lets gradients flow as the
    caller's grad mode says. Others keep graphs, or a few states.

    Attributes
    ----------
    defers
        Whether a step's interpolant may be filled in after later steps were recorded.
    """

    defers = True

    def open(self, y0: Tensor, status: Tensor, ended: Tensor) -> Trace:
        """Return an empty record."""
        return Trace(nodes=[y0], status=status, ended=ended)

    def begin(self, y0: Tensor, t0: Number, t1: Number) -> Trace:
        """Return an empty record; groups count as successful, arriving at the end, until they fail."""
        ended = tensor_beside(t1, y0).detach().clone()
        record = self.open(y0, torch.zeros_like(ended, dtype=torch.int8), ended)
        if isinstance(t0, Tensor):
            none = torch.zeros_like(ended, dtype=torch.int64)
            record.count(none, none)
        return record

    def take(
        self, rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k: Tensor | None, *, with_end: bool
    ) -> tuple[Step, Tensor | None]:
        """Try a step, perhaps several times with other sizes; return it, and its end's derivative where asked for."""
        step = take_step(rhs, tableau, t, y, h, k)
        return step, end_derivative(rhs, t, h, step) if with_end else None

    def finish(
        self,
        rhs: Rhs,
        tableau: Method,
        t: Number,
        y: Tensor,
        h: Number,
        t_end: Number,
        step: Step,
        k_end: Tensor | None,
        *,
        with_end: bool,
        dense: bool,
    ) -> End:
        """Finish the accepted step: its end's derivative and its interpolant, where they are asked for."""
        k_end = step.end if k_end is None else k_end
        if k_end is None and (with_end or dense):
            k_end = rhs(t_end, step.y)
        if not dense:
            return End(step.y, k_end, None)
        assert k_end is not None
        return End(step.y, k_end, interpolant(rhs, tableau, t, y, h, step, k_end))


EVERY_NODE = NodeStore()
"""Keeps every state, with whatever graph it has."""
