"""Pieces of a solve put together: outputs, clocks, interpolants."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.gradients.outputs import Outcome, StepTable
from physode.problem.problem import Problem
from physode.solvers.clock import expand
from physode.solvers.grid import Grid

__all__ = ["Joined", "Rows"]


class Rows:
    """The outputs of a solve, filled in piece by piece; NaN until then."""

    def __init__(self, t: Tensor, y0: Tensor) -> None:
        self._t = t.detach()
        blank = torch.full_like(y0.detach(), torch.nan)
        self._rows = [y0, *[blank] * (len(t) - 1)]

    def put(
        self, states: Tensor, shown: list[int], start: Tensor, end: Tensor, going: Tensor, direction: Tensor
    ) -> None:
        """Fill in those of the rows ``shown`` that lie behind a group's start and not behind its end."""
        for state, row in zip(states, shown, strict=False):
            time = self._t[row]
            here = going & (direction * (time - start) > 0) & (direction * (end - time) >= 0)
            if bool(here.all()):
                self._rows[row] = state
            else:
                self._rows[row] = torch.where(expand(here, state.ndim), state, self._rows[row])

    def outputs(self) -> Tensor:
        """Return all rows."""
        return torch.stack(self._rows)


@dataclass
class Joined:
    """The record of all pieces.

    ``attempts``: how many each group has made.
    """

    direction: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor
    status: Tensor
    _pieces: list[tuple[Grid, Tensor, StepTable | None]] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem) -> Joined:
        """Return the record of no piece."""
        t = problem.t.detach()
        none = torch.zeros_like(t[0], dtype=torch.int64)
        return cls(torch.sign(t[-1] - t[0]), t[-1].clone(), none, none, none.to(torch.int8))

    @property
    def attempts(self) -> Tensor:
        """Accepted and rejected steps together."""
        return self.accepted + self.rejected

    def add(self, outcome: Outcome, going: Tensor) -> None:
        """Add a piece, in which some groups were on their way."""
        record = outcome.record
        self.accepted = self.accepted + record.accepted * going
        self.rejected = self.rejected + record.rejected * going
        self._pieces.append((record.clock(), going, outcome.table))

    def discard(self, outcome: Outcome, going: Tensor) -> None:
        """Count the steps of a piece that is to be solved anew as rejected attempts."""
        record = outcome.record
        self.rejected = self.rejected + (record.accepted + record.rejected) * going

    def clock(self) -> Grid:
        """Return the steps of all pieces; groups that had arrived stand still."""
        return _joined([self._standing(grid, going) for grid, going, _ in self._pieces])

    def __len__(self) -> int:
        return sum(len(grid.starts) for grid, _, _ in self._pieces)

    def _standing(self, grid: Grid, going: Tensor) -> Grid:
        if bool(going.all()):
            return grid
        starts, ends = (torch.where(going, part, self.ended) for part in (grid.starts, grid.ends))
        return Grid(starts, torch.where(going, grid.sizes, 0.0), ends)

    def outcome(self, outputs: Tensor, status: Tensor, ended: Tensor) -> Outcome:
        """Return what the solve as a whole gives."""
        self.status, self.ended = status, ended
        tables = [(table, going) for _, going, table in self._pieces if table is not None]
        if not tables:
            return Outcome(outputs, self, None)
        grid = _joined([self._standing(table.grid, going) for table, going in tables])
        start, dense, end = (
            torch.cat([getattr(table, name) for table, _ in tables]) for name in ("y_start", "dense", "y_end")
        )
        return Outcome(outputs, self, StepTable(self.direction, grid, start, dense, end))


def _joined(grids: list[Grid]) -> Grid:
    return Grid(*(torch.cat(parts) for parts in zip(*grids, strict=True)))
