r"""Radau5: Radau IIA of order 5 with error control, Hairer & Wanner's RADAU5 (Solving ODEs II, Sect. IV.8).

The three stages are coupled, and found together. With :math:`\gamma_0` the inverse of the real eigenvalue of
:math:`A^{-1}`, the error is estimated by a method of order 3 that also uses the derivative at the step's start (Eqs.
IV.8.18 to 20),

.. math::
    err = (I - h \gamma_0 J)^{-1} \Big(\gamma_0 h f(t, y) + \sum_i e_i (Y_i - y)\Big) .

The matrix keeps it bounded where the problem is stiff. Where it is too large, :math:`f(t, y + err)` takes the place of
:math:`f(t, y)`, which damps it to 0 for an infinitely stiff component: what is seen there is the error that the state
before had. RADAU5 does so behind rejected steps. A step that knows nothing of others does it always, and then half
of the estimate counts at the least: without it, steps would grow past all that drives a stiff component, since their
ends are exact whatever it does meanwhile.

Between steps the solution is the collocation polynomial. A step depends on nothing but its start, as replays must:
iterations start from the state there, not from the polynomial of the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from physode.autograd import plain
from physode.solvers.clock import Number, sized
from physode.solvers.implicit.banded import BandFactors
from physode.solvers.implicit.linear import Factors, factor, shifted
from physode.solvers.implicit.newton import seen, size_of
from physode.solvers.implicit.rosenbrock import combined
from physode.solvers.implicit.runge_kutta import ImplicitRungeKutta
from physode.solvers.implicit.stage_equations import StageSolver
from physode.solvers.implicit.tableaus import FIXED
from physode.solvers.runge_kutta import Row

__all__ = ["RADAU5", "Radau"]

_TABLEAU = next(method for method in FIXED if method.name == "radauIIA5")
_GAMMA = 1 / (3 + 3 ** (2 / 3) - 3 ** (1 / 3))
_R6 = sqrt(6)
_KAPPA, _SMALLEST_KAPPA = 3e-2, 1e-4
_LEAST = 0.5  # of the estimate, where it is damped
_E = tuple(_GAMMA / 3 * value for value in (-13 - 7 * _R6, -13 + 7 * _R6, -1))


@dataclass(frozen=True, kw_only=True)
class Radau(ImplicitRungeKutta):
    r"""A method of coupled stages with the error estimate above.

    Attributes
    ----------
    gamma_error
        :math:`\gamma_0`.
    e
        The weights :math:`e_i`.
    """

    gamma_error: float
    e: Row

    @property
    def adaptive(self) -> bool:  # type: ignore[override]
        """Whether it estimates its local error."""
        return True

    def prepared(self, *, rtol: Tensor | float | None, atol: Tensor | float | None) -> Radau:
        """Return the method with Newton's method made for these tolerances.

        An error left by it is not of the method's order: it would rule where tolerances are small.
        """
        if rtol is None:
            return self
        smallest = float(plain(rtol).min()) if isinstance(rtol, Tensor) else rtol
        return replace(self, rtol=rtol, atol=atol, kappa=min(_KAPPA, max(sqrt(smallest), _SMALLEST_KAPPA)))

    def _estimate(self, solver: StageSolver, y: Tensor, k1: Tensor | None, ws: Sequence[Tensor]) -> Tensor:
        """Return the local error's estimate; the matrix is taken for a constant in its derivatives."""
        if solver.jacobian is None:
            return torch.zeros_like(y)
        weights = tuple(sum(e * row[j] for e, row in zip(self.e, self.a, strict=True)) for j in range(self.stages))
        weighted = combined(weights, ws)
        factors = factor(shifted(solver.jacobian, solver.h, self.gamma_error))
        error = self._filtered(solver, factors, weighted, solver.at_start(y, k1))
        size = self._size(solver, error)
        if not seen(size > 1.0):
            return error
        again = self._filtered(solver, factors, weighted, solver.rhs(solver.t, y + error))
        least = solver.where(self._size(solver, again) >= _LEAST * size, again, _LEAST * error)
        return solver.where(size > 1.0, least, error)

    def _size(self, solver: StageSolver, error: Tensor) -> Number:
        return size_of(solver.blocks.split(error.detach()) / solver.scale, solver.lone)

    def _filtered(self, solver: StageSolver, factors: Factors | BandFactors, weighted: Tensor, slope: Tensor) -> Tensor:
        right = weighted + self.gamma_error * sized(solver.h, slope) * slope
        return solver.blocks.join(factors.solve(solver.blocks.split(right)))


RADAU5 = Radau(
    name="radau5",
    order=5,
    error_order=3,
    c=_TABLEAU.c,
    a=_TABLEAU.a,
    b=_TABLEAU.b,
    gamma_error=_GAMMA,
    e=_E,
    reference="E. Hairer & G. Wanner, Solving ODEs II, Sect. IV.8",
)
