"""How a loop takes its steps: a point where the gradient methods may take them in another way."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from physode.solvers.method import Method
from physode.solvers.numbers import Number
from physode.solvers.stepper import Rhs, Step, end_derivative, interpolant, take_step

__all__ = ["PLAIN", "End", "Plain", "Taker"]


class End(NamedTuple):
    """What a loop goes on from: the state at a step's end, the derivative there, the step's interpolant."""

    y: Tensor
    k: Tensor | None
    dense: Tensor | None


class Taker(Protocol):
    """Takes the steps of a loop: each is tried, perhaps several times with other sizes, and finished where accepted."""

    def take(
        self, rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k: Tensor | None, *, with_end: bool
    ) -> tuple[Step, Tensor | None]:
        """Try a step; return it, and the derivative at its end if that is asked for."""

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
        """Finish the step taken last: its end's derivative and its interpolant, where they are asked for."""


class Plain:
    """Evaluates what is asked for and nothing else; gradients flow as the caller's grad mode says."""

    def take(
        self, rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k: Tensor | None, *, with_end: bool
    ) -> tuple[Step, Tensor | None]:
        """Try a step."""
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
        """Finish a step."""
        k_end = step.end if k_end is None else k_end
        if k_end is None and (with_end or dense):
            k_end = rhs(t_end, step.y)
        if not dense:
            return End(step.y, k_end, None)
        assert k_end is not None
        return End(step.y, k_end, interpolant(rhs, tableau, t, y, h, step, k_end))


PLAIN = Plain()
