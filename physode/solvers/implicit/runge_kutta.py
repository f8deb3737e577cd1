r"""Implicit Runge-Kutta methods: diagonally implicit ones stage by stage, the others with all stages coupled.

.. math::
    w_i = h f\Big(t + c_i h, \; y + \sum_j a_{ij} w_j\Big), \qquad y_{+} = y + \sum_i b_i w_i .

With error control, Newton's method keeps one factorisation for a step, made of the derivative at its start, and
converges to a hundredth of the tolerance; where it does not, the step's error is huge and the loop tries a smaller
one. Steps of a given size have nothing to fall back on: there the derivative is renewed in every iteration, down to
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.solvers.implicit.blocks import Blocks, blocks_of, sized
from physode.solvers.implicit.continuous import dense_rows, guess_rows
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.linear import Factors
from physode.solvers.implicit.newton import newton
from physode.solvers.implicit.rosenbrock import combined
from physode.solvers.implicit.stages import Stages, differentiated, differentiating
from physode.solvers.method import StepMethod
from physode.solvers.numbers import Number
from physode.solvers.stepper import Step

__all__ = ["ImplicitRungeKutta"]

Row = tuple[float, ...]

_KAPPA = 1e-2
_CHORDS, _NEWTONS = 10, 20  # iterations with one derivative, with a new one each
_ROUNDING = 100
_HUGE = {torch.float64: 1e100, torch.float32: 1e15, torch.bfloat16: 1e15, torch.float16: 1e4}


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
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_error: Row = ()
    error_order: int = 0
    reference: str = ""
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

    @cached_property
    def _guesses(self) -> tuple[Row, ...]:
        return guess_rows(self.c)

    def prepared(self, *, rtol: Tensor | float, atol: Tensor | float) -> ImplicitRungeKutta:
        """Return the method with Newton's method made for these tolerances."""
        return replace(self, rtol=rtol, atol=atol) if self.adaptive else self

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step; what stands for slopes are the increments :math:`w_i`, and a penalty added to the error."""
        solver = _Solver.of(self, rhs, t, y, h)
        ws: list[Tensor] = []
        if self.coupled:
            times = [t + node * h for node in self.c]
            ws = solver.find(Stages(rhs, times, [y] * self.stages, self.a, h, solver.blocks), None)
        else:
            states: list[Tensor] = []
            for i, row in enumerate(self.a):
                known = y + combined(row[:i], ws) if i else y
                ws.append(self._next(solver, rhs, t, h, k1, i, known, states))
                states.append((known + row[i] * ws[-1]).detach())
        end = y + combined(self.b, ws)
        if not self.adaptive:
            return Step(solver.marked(end, torch.nan), tuple(ws))
        return Step(end, (*ws, solver.marked(torch.zeros_like(end), _HUGE[end.dtype])))

    def _next(
        self,
        solver: _Solver,
        rhs: Any,
        t: Number,
        h: Number,
        k1: Tensor | None,
        i: int,
        known: Tensor,
        states: Sequence[Tensor],
    ) -> Tensor:
        """Return the increment of a stage of a diagonally implicit method.

        It is first guessed from the states before it, not from their slopes: an error of a stiff problem's state is
        magnified in the slope, so that an explicit guess may lie anywhere.
        """
        node, weight = self.c[i], self.a[i][i]
        time = t + node * h
        if weight == 0.0:
            slope = k1 if i == 0 and k1 is not None else rhs(time, known)
            increment: Tensor = sized(h, slope) * slope
            return increment
        guess = (combined(self._guesses[i], states) - known.detach()) / weight if i else None
        (found,) = solver.find(Stages(rhs, [time], [known], ((weight,),), h, solver.blocks), guess)
        return found

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [combined(self.b_error, ks) + ks[-1]]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the method's own interpolant."""
        return [step.y - y, *(combined(row, step.ks) for row in self._dense[0])]


@dataclass
class _Solver:
    """Newton's method in one step: what its stages share.

    ``failed`` are the blocks where it did not converge. Their stages are finite, and with error control their error is
    huge but finite, too: the naive method's gradients pass through rejected attempts, and would meet a NaN.
    """

    method: ImplicitRungeKutta
    blocks: Blocks
    jacobian: Tensor | None
    scale: Tensor
    failed: Tensor
    factors: Factors | None = None

    @classmethod
    def of(cls, method: ImplicitRungeKutta, rhs: Any, t: Number, y: Tensor, h: Number) -> _Solver:
        """Make ready for a step."""
        blocks = blocks_of(y, h, structure_for(rhs))
        with torch.no_grad():
            rows = blocks.split(y.detach())
            jacobian = None
            if method.rtol is None or method.atol is None:
                rounding = _ROUNDING * torch.finfo(y.dtype).eps
                size = rows.square().mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(y.dtype).tiny / rounding)
                scale = rounding * torch.maximum(rows.abs(), size)
            else:
                scale = blocks.split((method.atol + method.rtol * y.detach().abs()).expand_as(y))
                jacobian = derivatives(rhs, t, y.detach(), blocks).by_state
        return cls(method, blocks, jacobian, scale, torch.zeros_like(rows[:, 0], dtype=torch.bool))

    def find(self, stages: Stages, guess: Tensor | None) -> list[Tensor]:
        """Return the increments of coupled stages, differentiable."""
        count = len(stages.a)
        with torch.no_grad():
            plain = stages.detached()
            scale = self.scale if count == 1 else self.scale.repeat(1, count)
            start = torch.zeros_like(scale) if guess is None else self.blocks.split(guess)
            if self.jacobian is None:
                found = newton(
                    lambda w: plain.exact_factors(w).solve(-plain.residual(w)),
                    start, scale, kappa=1.0, limit=_NEWTONS, patient=True,
                )  # fmt: skip
            else:
                if self.factors is None:
                    self.factors = plain.factors([self.jacobian])
                factors = self.factors
                found = newton(
                    lambda w: factors.solve(-plain.residual(w)),
                    start, scale, kappa=_KAPPA, limit=_CHORDS, patient=False,
                )  # fmt: skip
            self.failed = self.failed | found.failed
            root = torch.where(found.failed[:, None], 0.0, found.root).detach()
        if differentiating():
            root = differentiated(stages, root)
        return stages.parts(root)

    def marked(self, state: Tensor, mark: float) -> Tensor:
        """Return a state, marked in the blocks where a stage was not found."""
        return self.blocks.join(torch.where(self.failed[:, None], mark, self.blocks.split(state)))
