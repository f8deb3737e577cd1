"""Interpolants of many steps at once: a small state's cost operations, not arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.method import Method
from physode.solvers.numbers import Number
from physode.solvers.stepper import Rhs, Step, interpolant
from physode.solvers.trajectory import Trajectory

__all__ = ["Later"]

_ELEMENTS = 2**15  # of the stages of the steps that wait


class _Waiting(NamedTuple):
    row: int
    h: Number
    y: Tensor
    step: Step
    k_end: Tensor


class Later:
    """Steps of a record whose interpolants are wanted but not computed yet.

    A step's place in the record is to a batch of steps what a sample is to a batch of samples: :func:`interpolant`
    takes one more leading axis as it is, unless it must evaluate the right-hand side at extra stages.
    """

    def __init__(self, rhs: Rhs, tableau: Method, y: Tensor) -> None:
        self._rhs, self._tableau = rhs, tableau
        self._most = 0 if tableau.c_extra else _ELEMENTS // max(1, y.numel() * (tableau.stages + 1))
        self._waiting: list[_Waiting] = []

    @property
    def useful(self) -> bool:
        """Whether interpolants can wait at all."""
        return self._most > 1

    def add(self, record: Trajectory, h: Number, step: Step, k_end: Tensor) -> None:
        """Let the interpolant of the step just recorded wait."""
        self._waiting.append(_Waiting(len(record) - 1, h, record.nodes[-2], step, k_end))
        if len(self._waiting) >= self._most:
            self.fill(record)

    def fill(self, record: Trajectory) -> None:
        """Compute what waits and put it into the record."""
        if not self._waiting:
            return
        rows, sizes, starts, steps, k_ends = zip(*self._waiting, strict=True)
        self._waiting = []
        y = torch.stack(starts)
        stages = zip(*(step.ks for step in steps), strict=True)
        step = Step(torch.stack([step.y for step in steps]), tuple(torch.stack(ks) for ks in stages))
        if isinstance(sizes[0], Tensor):
            h = torch.stack(sizes)
        else:
            h = torch.tensor(sizes, dtype=torch.float64, device=y.device)
        found = interpolant(self._rhs, self._tableau, h, y, h, step, torch.stack(k_ends))
        for row, dense in zip(rows, found.unbind(1), strict=True):
            record.dense[row] = dense
