"""The record of a solve: its accepted steps. From it outputs, gradients and Jacobians are computed."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from physode.solvers.clock import Number, as_float, detached
from physode.solvers.grid import Grid
from physode.solvers.norms import all_finite
from physode.solvers.online_output import OnlineOutput
from physode.status import Status

__all__ = ["CheckpointedTrace", "SavePolicy", "Ticks", "Trace"]


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

    def thin(self, wanted: SavePolicy) -> None:
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


_BLOCK = 256  # rows of a block of ticks


class Ticks:
    """One number a group for each step, in float64 and nothing else: eight bytes each.

    A list of Python floats would take four times as much, a list of tensors of one element fifty times.
    """

    def __init__(self) -> None:
        self._floats = array("d")
        self._blocks: list[Tensor] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, value: Number) -> None:
        """Add a step's numbers."""
        if isinstance(value, Tensor):
            if self._rows % _BLOCK == 0:
                self._blocks.append(value.new_empty(_BLOCK, *value.shape))
            self._blocks[-1][self._rows % _BLOCK] = value
        else:
            self._floats.append(value)
        self._rows += 1

    def __getitem__(self, row: int) -> Number:
        return self._blocks[row // _BLOCK][row % _BLOCK] if self._blocks else self._floats[row]

    def stacked(self, like: Tensor) -> Tensor:
        """Return all numbers, ``(steps, *groups)``, beside ``like``, which has the groups' shape."""
        if self._blocks:
            return torch.cat(self._blocks)[: self._rows]
        if not self._rows:
            return like.new_empty(0, *like.shape)
        return torch.tensor(self._floats, dtype=torch.float64, device=like.device)


@dataclass
class CheckpointedTrace(Trace):
    """A record that keeps at most ``most`` states, whatever the number of steps.

    Every ``stride``-th node is kept, from the first; when there would be more than ``most``, every other one goes and
    the stride doubles. So between ``most / 2`` and ``most`` are kept of a long solve, evenly spaced. Of the lists of a
    :class:`~physode.solvers.trace.Trace` only the last step's entries stay.

    Attributes
    ----------
    most
        How many states may be kept; 0 for none.
    reader
        Reads the outputs of each step.
    grid
        The steps, where they are given beforehand; else sizes and ends are kept, two numbers a step and group.
    kept, stride
        The nodes kept, and how many steps lie between them.
    coefficients
        How many the interpolants had that were seen.
    """

    most: int = 0
    reader: OnlineOutput | None = None
    grid: Grid | None = None
    kept: list[Tensor] = field(default_factory=list)
    stride: int = 1
    coefficients: int = 0

    defers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._steps = 0
        self._sizes, self._ends = Ticks(), Ticks()
        self._first: Number = 0.0
        self._bad: Tensor | None = None
        self._when = self.ended
        if self.most:
            self.kept = [self.nodes[0].detach()]

    def __len__(self) -> int:
        return self._steps

    def moment(self, row: int) -> tuple[Number, Number]:
        """Return a step's start and signed size, the kind of number that the loop took it with."""
        if self.grid is not None:
            return self.grid.starts[row].detach(), self.grid.sizes[row].detach()
        return self._ends[row - 1] if row else self._first, self._sizes[row]

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends as tensors, ``(steps, *groups)``."""
        if self.grid is not None:
            return Grid(*(part[: self._steps] for part in self.grid))
        ends, sizes = self._ends.stacked(self.ended), self._sizes.stacked(self.ended)
        if not self._steps:
            return Grid(ends, sizes, ends)
        first = torch.as_tensor(self._first, dtype=torch.float64, device=ends.device)
        return Grid(torch.cat([first[None], ends[:-1]]), sizes, ends)

    def append(self, start: Number, size: Number, end: Number, node: Tensor, dense: Tensor | None) -> None:
        """Record an accepted step: read its outputs, note its clock, and keep its end if that is due."""
        before = self.nodes[-1]
        self._watch(before, node, start, end)
        if self._steps == 0:
            self._first = start
        if self.grid is None:
            self._sizes.add(size)
            self._ends.add(end)
        self.starts, self.sizes, self.ends = [start], [size], [end]
        self.nodes, self.dense = [before, node], [dense]
        self._steps += 1
        if dense is not None:
            self.coefficients = len(dense)
        if self.reader is not None:
            self.reader.step(start, size, end, before, node, dense)
        if self.most and self._steps % self.stride == 0:
            self._keep(node)

    def _keep(self, node: Tensor) -> None:
        if len(self.kept) == self.most:
            self.kept = self.kept[::2]
            self.stride *= 2
            if self._steps % self.stride:
                return
        self.kept.append(node.detach())

    def _watch(self, before: Tensor, node: Tensor, start: Number, end: Number) -> None:
        """Note when a state first was not finite, without a look at the device."""
        if self._bad is None:
            self._bad = self._unusable(before)
            self._when = torch.where(self._bad, detached(start), self.ended)
        bad = self._unusable(node)
        self._when = torch.where(bad & ~self._bad, detached(end), self._when)
        self._bad = bad | self._bad

    def _unusable(self, node: Tensor) -> Tensor:
        bad = ~torch.isfinite(node)
        return bad.reshape(len(bad), -1).any(1) if self.status.ndim else bad.any()

    def thin(self, wanted: SavePolicy) -> None:
        """Do nothing: what is not kept has been forgotten."""

    def close(self) -> None:
        """Name the groups whose state is not finite although no step noticed."""
        if self._bad is not None:
            self.end(self._bad & (self.status != Status.NON_FINITE), int(Status.NON_FINITE), self._when)
