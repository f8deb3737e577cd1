"""A record of bounded memory: a few states, evenly spaced, the clock of all steps, and outputs read on the way."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.solvers.clock import Grid, Number, detached
from physode.solvers.online_output import OnlineOutput
from physode.solvers.trace import NodeStore, SavePolicy, Trace
from physode.status import Status

__all__ = ["CheckpointedTrace", "Checkpoints", "Ticks", "thin_together"]

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
    kept, stride
        The nodes kept, and how many steps lie between them.
    coefficients
        How many the interpolants had that were seen.
    """

    most: int = 0
    reader: OnlineOutput | None = None
    kept: list[Tensor] = field(default_factory=list)
    stride: int = 1
    coefficients: int = 0

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

    def halve(self) -> None:
        """Keep every other state that is kept now."""
        self.kept = self.kept[::2]
        self.stride *= 2

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
            self.halve()
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


@dataclass
class Checkpoints(NodeStore):
    """Keeps at most ``most`` states of a solve, and hands its outputs to a ``reader`` as they are reached.

    ``grid``: the steps, where they are given beforehand.
    """

    most: int = 0
    reader: OnlineOutput | None = None
    grid: Grid | None = None

    defers = False

    def open(self, y0: Tensor, status: Tensor, ended: Tensor) -> Trace:
        """Return an empty record."""
        return CheckpointedTrace(
            nodes=[y0], status=status, ended=ended, most=self.most, reader=self.reader, grid=self.grid
        )


def thin_together(traces: Sequence[CheckpointedTrace], most: int) -> None:
    """Thin several records until they keep no more than ``most`` states, beside the one that each starts with."""
    while sum(len(trace.kept) - 1 for trace in traces) > most:
        max(traces, key=lambda trace: len(trace.kept)).halve()
