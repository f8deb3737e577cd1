"""Steps that wait to be looked into for events, many at once: a small state's look costs operations, not arithmetic."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.events.root_finding import POINTS
from physode.solvers.interpolation import StepInterpolant
from physode.solvers.method import Method, StepMethod
from physode.solvers.runge_kutta import Rhs, Step, interpolant

__all__ = ["AnewError", "Taken", "Waiting"]

_ELEMENTS = 2**15  # of the stages of the steps that wait
_MOST = 128


class AnewError(Exception):
    """The piece is to be solved anew: it went on where it should have stopped, or not on the sides that it lies on."""


class Taken(NamedTuple):
    """An accepted step of a shared clock."""

    t: float
    h: float
    t_next: float
    y: Tensor
    step: Step
    k_end: Tensor | None


class Waiting:
    """Accepted steps of a shared clock, to be looked into together by mapping the conditions over them."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._steps: list[Taken] = []
        self._most: int | None = None

    def takes(self, tableau: Method, y: Tensor) -> bool:
        """Whether steps of a method can wait: not where interpolants need evaluations of their own."""
        if self._most is None:
            self._most = 0 if tableau.c_extra else min(_MOST, _ELEMENTS // max(1, y.numel() * (tableau.stages + 1)))
        return self._most > 1

    def add(self, taken: Taken) -> bool:
        """Let a step wait; return whether these are enough."""
        self._steps.append(taken)
        return len(self._steps) >= (self._most or 0)

    def __len__(self) -> int:
        return len(self._steps)

    def looked(self, rhs: Rhs, tableau: Method) -> tuple[list[Taken], Tensor, Tensor]:
        """Return the steps, none of which waits any more, their interpolants, and the conditions' values.

        ``(m, steps, *state)`` and ``(steps, points, events)``.

        Raises
        ------
        AnewError
            If the conditions cannot be mapped over steps.
        """
        steps, self._steps = self._steps, []
        y, y_end = torch.stack([one.y for one in steps]), torch.stack([one.step.y for one in steps])
        ks = tuple(torch.stack(parts) for parts in zip(*(one.step.ks for one in steps), strict=True))
        clock = torch.tensor([one[:3] for one in steps], dtype=torch.float64, device=y.device)
        t, h, t_next = clock.unbind(1)
        step = Step(y_end, ks)
        own = tableau.coefficients(y, step) if isinstance(tableau, StepMethod) else None
        if own is None:
            dense = interpolant(rhs, tableau, t, y, h, step, torch.stack(_slopes(rhs, tableau, steps)))
        else:
            dense = torch.stack(own)
        times, states = StepInterpolant(t, h, t_next, y, dense, y_end).points(POINTS[:-1])
        times = torch.cat([times, t_next[None]]).movedim(0, 1)
        states = torch.cat([states, y_end[None]]).movedim(0, 1)
        return (
            steps,
            dense,
            self._values(times.reshape(-1), states.reshape(-1, *y.shape[1:])).reshape(len(steps), len(POINTS), -1),
        )

    def _values(self, t: Tensor, y: Tensor) -> Tensor:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of operations that are slow to map
                return torch.func.vmap(self._conditions.values)(t, y)
        except Exception as error:  # whatever a condition raises that looks at values, or at what it is given
            raise AnewError from error


def _slopes(rhs: Rhs, tableau: Method, steps: Sequence[Taken]) -> list[Tensor]:
    """Return the derivatives at steps' ends, which the next step often starts with."""
    found = []
    for one, after in zip(steps, [*steps[1:], None], strict=True):
        slope = one.step.end if one.k_end is None else one.k_end
        if slope is None and after is not None and not isinstance(tableau, StepMethod) and after.t == one.t_next:
            slope = after.step.ks[0]
        found.append(rhs(one.t_next, one.step.y) if slope is None else slope)
    return found
