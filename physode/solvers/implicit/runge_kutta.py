r"""Implicit Runge-Kutta methods: diagonally implicit ones stage by stage, the others with all stages coupled.

.. math::
    w_i = h f\Big(t + c_i h, \; y + \sum_j a_{ij} w_j\Big), \qquad y_{+} = y + \sum_i b_i w_i .

With error control, Newton's method keeps one factorisation for a step, made of the derivative at its start, and
leaves a share ``kappa`` of the tolerance; where it does not converge, the step's error is huge and the loop tries a
smaller one. Steps of a given size have nothing to fall back on: there the derivative is renewed in every iteration,
down to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from physode.solvers.clock import Number
from physode.solvers.implicit.dense_output import dense_rows, guess_rows
from physode.solvers.implicit.rosenbrock import Running, columns_of, combined
from physode.solvers.implicit.stage_equations import StageSolver
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Row, Step, stage_times

__all__ = ["ImplicitRungeKutta"]


@dataclass(frozen=True, kw_only=True)
class ImplicitRungeKutta(StepMethod):
    r"""An implicit Runge-Kutta method.

    Attributes
    ----------
    c, a, b
        Nodes, rows of weights (of as many entries as there are stages, or up to the diagonal), and weights.
    b_error
        Weights of the local error's estimate; empty for fixed-step methods.
    rtol, atol
        The tolerance that Newton's method is measured in; None for rounding.
    kappa
        The error, in tolerances, that Newton's method leaves.
    filtered
        Whether the estimate is multiplied by the inverse of the stages' matrix: in an infinitely stiff component the
        stages' errors count in the estimate, not in a stiffly accurate solution.
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_error: Row = ()
    error_order: int = 0
    reference: str = ""
    kappa: float = 3e-2
    filtered: bool = False
    rtol: Tensor | float | None = field(default=None, compare=False)
    atol: Tensor | float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for node, row in zip(self.c, self.a, strict=True):
            if abs(sum(row) - node) > 1e-12:
                raise ValueError(f"method {self.name!r}: a row of a does not sum to its node {node}")
        if abs(sum(self.b) - 1.0) > 1e-12 or abs(sum(self.b_error)) > 1e-12:
            raise ValueError(f"method {self.name!r}: b does not sum to 1, or b_error not to 0")

    @property
    def stages(self) -> int:  # type: ignore[override]
        """The number of stages."""
        return len(self.b)

    @property
    def adaptive(self) -> bool:  # type: ignore[override]
        """Whether it estimates its local error."""
        return bool(self.b_error)

    @property
    def interpolant_order(self) -> int:  # type: ignore[override]
        """The order of the interpolant."""
        return self._dense[1]

    @property
    def coupled(self) -> bool:
        """Whether stages depend on later ones."""
        return any(value != 0.0 for i, row in enumerate(self.a) for value in row[i + 1 :])

    @property
    def gamma(self) -> float:
        """The diagonal's entry, of a diagonally implicit method."""
        return max(row[i] for i, row in enumerate(self.a))

    @cached_property
    def _dense(self) -> tuple[tuple[Row, ...], int]:
        return dense_rows(self.a, self.b, self.c)

    def prepared(self, *, rtol: Tensor | float | None, atol: Tensor | float | None) -> ImplicitRungeKutta:
        """Return the method with Newton's method made for these tolerances."""
        return self if rtol is None or not self.adaptive else replace(self, rtol=rtol, atol=atol)

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step; what stands for slopes are the increments :math:`w_i`, and the local error's estimate."""
        solver = StageSolver.of(rhs, t, y, h, self.rtol, self.atol, self.kappa)
        ws, (change, *errors) = self._coupled(solver, y) if self.coupled else self._one_by_one(solver, y, k1)
        end = y + change
        if self.rtol is None:
            end = solver.blanked(end)
        if not self.adaptive:
            return Step(end, tuple(ws))
        error = errors[0] if errors else self._estimate(solver, y, k1, ws)
        if self.filtered:
            error = solver.filtered(error)
        return Step(end, (*ws, solver.rejected(error)))

    def _coupled(self, solver: StageSolver, y: Tensor) -> tuple[list[Tensor], Sequence[Tensor]]:
        """Return the increments of stages that depend on each other, and the state's change."""
        ws = solver.find(stage_times(self.c, solver.t, solver.h), [y] * self.stages, self.a, None)
        return ws, [combined(self.b, ws)]

    def _one_by_one(self, solver: StageSolver, y: Tensor, k1: Tensor | None) -> tuple[list[Tensor], Sequence[Tensor]]:
        """Return the increments of stages that depend on earlier ones, the state's change, and the error.

        A stage is first guessed from the states before it, not from their slopes: an error of a stiff problem's state
        is magnified in the slope, so that an explicit guess may lie anywhere.
        """
        sums, states, ws = Running(self._columns), Running(self._guesses), list[Tensor]()
        for i, time in enumerate(stage_times(self.c, solver.t, solver.h)):
            explicit_part = y + sums.take(1)[0] if i else y
            weight = self.a[i][i]
            if weight == 0.0:
                ws.append(solver.explicit(time, explicit_part, solver.at_start(y, k1) if i == 0 else None))
            else:
                guess = (states.take(1)[0] - explicit_part.detach()) / weight if i else None
                ws += solver.find([time], [explicit_part], ((weight,),), guess)
            sums.add(ws[i])
            if i + 1 < self.stages:
                states.add(torch.add(explicit_part, ws[i], alpha=weight).detach())
        return ws, sums.take(1 + bool(self.b_error))

    def _estimate(self, solver: StageSolver, y: Tensor, k1: Tensor | None, ws: Sequence[Tensor]) -> Tensor:
        """Return the local error's estimate, of a method whose stages are coupled."""
        raise NotImplementedError(f"{self.name} estimates no error")

    @cached_property
    def _columns(self) -> tuple[Row, ...]:
        rows = [row[:i] for i, row in enumerate(self.a)]
        return columns_of([*rows, self.b, *([self.b_error] if self.b_error else [])])

    @cached_property
    def _guesses(self) -> tuple[Row, ...]:
        return columns_of(guess_rows(self.c))

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [ks[-1]]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the method's own interpolant."""
        return [step.y - y, *(combined(row, step.ks) for row in self._dense[0])]
