"""What the solves inside a model have cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from torch import nn

from physode.solution import Stats

__all__ = ["Solving", "Work", "work_of"]


@dataclass
class Work:
    """What solving has cost: calls of f forward and backward, and accepted and rejected steps."""

    forward: float = 0.0
    backward: float = 0.0
    accepted: float = 0.0
    rejected: float = 0.0

    def __add__(self, other: Self) -> Work:
        """Return the sum of both."""
        return Work(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Solving(nn.Module):
    """A module that solves differential equations, and counts what that costs."""

    def __init__(self) -> None:
        super().__init__()
        self._spent = Work()
        self._last: list[Stats] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave the last solves out of copies: they are none of theirs."""
        self._settle()
        return self.__dict__.copy()

    def work(self) -> Work:
        """Return what the solves since :meth:`forget_work` have cost."""
        self._settle()
        return self._spent + Work()

    def forget_work(self) -> None:
        """Count from 0 again."""
        self._last, self._spent = [], Work()

    def _count(self, evaluations: int = 0, steps: int = 0, *, solve: Stats | None = None) -> None:
        """Count what was done without a solver, and a solve, whose backward pass is still to come."""
        self._spent.forward += evaluations
        self._spent.accepted += steps
        if solve is not None:
            self._last.append(solve)

    def _settle(self) -> None:
        """Add the last solves' work, whose backward passes are over by now."""
        last, self._last = self._last, []
        for each in last:
            steps = (float(counts.double().mean()) for counts in (each.accepted, each.rejected))
            self._spent += Work(each.rhs_forward, each.rhs_backward, *steps)


def work_of(model: nn.Module, *, forget: bool = False) -> Work:
    """Return what the solves of all parts of a model have cost together."""
    total = Work()
    for part in model.modules():
        if isinstance(part, Solving):
            total += part.work()
            if forget:
                part.forget_work()
    return total
