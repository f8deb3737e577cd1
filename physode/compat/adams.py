r"""Adams methods: explicit (Bashforth), and implicit (Moulton) by functional iteration from the explicit prediction.

With derivatives :math:`f_j` known at times :math:`t_j`, a step of size :math:`h` integrates their interpolation
polynomial (Hairer, Norsett & Wanner, Solving ODEs I, Sect. III.1):

.. math::
    y_{n+1} = y_n + h \sum_j w_j f_j, \qquad w_j = \int_0^1 \ell_j(t_n + h s) \, ds ,

:math:`\ell_j` the Lagrange polynomials on the times themselves, so that steps may differ in size.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from physode.solvers.clock import Number, scale_of
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Step, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["RK4_38", "Adams", "adams_weights"]

_LEAST_ORDER, _GREATEST_ORDER = 4, 12
_GAUSS_POINTS = 7  # exact to degree 13
_SAME = 1e-6  # of a step: times as near are the same

RK4_38 = Tableau(
    name="rk4_38",
    order=4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
    reference="W. Kutta, Z. Math. Phys. 46 (1901) 435-453, the 3/8 rule",
)


@lru_cache(maxsize=8)
def _gauss(device: torch.device) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_GAUSS_POINTS)
    return torch.tensor((nodes + 1) / 2, device=device), torch.tensor(weights / 2, device=device)


def adams_weights(times: Tensor, start: Tensor, size: Tensor) -> Tensor:
    r"""Return the weights :math:`w_j` of derivatives known at ``times``, ``(points,)``, for a step of ``size``."""
    s = (times - start) / size
    nodes, weights = _gauss(times.device)
    own = torch.eye(len(s), dtype=torch.bool, device=times.device)
    gaps = torch.where(own, 1.0, s[:, None] - s[None, :])
    factors = torch.where(own, 1.0, nodes[:, None, None] - s[None, None, :]) / gaps
    return (weights[:, None] * factors.prod(-1)).sum(0)


@dataclass(eq=False)
class Adams(StepMethod):
    """An Adams method, and its memory of one walk of a grid: a step that follows none begins another.

    Attributes
    ----------
    implicit
        Whether predictions are corrected, ``max_iters`` times at most, until they change by less than the tolerance.
    max_order
        One more than the past derivatives that are kept. The first steps, with fewer than three, are Kutta's 3/8 rule.
    times, derivatives
        The past ones, the latest first.
    end
        Where the last step ended.

    Raises
    ------
    ValueError
        If the order is none that rounding errors allow.
    """

    implicit: bool
    rtol: Tensor | float
    atol: Tensor | float
    max_order: int
    max_iters: int
    name: str = "adams"
    order: int = _LEAST_ORDER
    stages: int = 4
    times: list[Tensor] = field(default_factory=list)
    derivatives: list[Tensor] = field(default_factory=list)
    end: Tensor | None = None

    def __post_init__(self) -> None:
        if self.max_order > _GREATEST_ORDER:
            raise ValueError(f"max_order must be at most {_GREATEST_ORDER}, got {self.max_order}")
        if self.max_order < _LEAST_ORDER:
            warnings.warn(f"max_order is below {_LEAST_ORDER}, so the solver reduces to `rk4`.", stacklevel=6)

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step."""
        t, h = (torch.as_tensor(part, dtype=torch.float64, device=y.device) for part in (t, h))
        near = _SAME * float(h.detach().abs())
        if near == 0.0:
            return Step(y, (torch.zeros_like(y),))
        if self.end is None or abs(float((t - self.end).detach())) > near:
            self.times, self.derivatives = [], []
        k = rhs(t, y) if k1 is None else k1
        self.times, self.derivatives = [t, *self.times], [k, *self.derivatives]
        self._forget(max(self.max_order - 1, 0))
        self.end = t + h
        if len(self.times) < _LEAST_ORDER - 1:
            return take_step(rhs, RK4_38, t, y, h, k)
        return Step(y + self._change(rhs, t, h, y), (k,))

    def _forget(self, keep: int) -> None:
        self.times, self.derivatives = self.times[:keep], self.derivatives[:keep]

    def _change(self, rhs: Rhs, t: Tensor, h: Tensor, y: Tensor) -> Tensor:
        past, end = torch.stack(self.times), t + h
        change = self._sum(h * adams_weights(past, t, h), y)
        if not self.implicit:
            return change
        weights = h * adams_weights(torch.cat([end[None], past]), t, h)
        known, weight = self._sum(weights[1:], y), weights[0].to(y.dtype)
        for _ in range(self.max_iters):
            before, change = change, weight * rhs(end, y + change) + known
            scale = scale_of(before, change, self.rtol, self.atol)
            if bool(((change - before).abs() / scale).max() < 1):
                return change
        warnings.warn("Functional iteration did not converge. Solution may be incorrect.", stacklevel=9)
        self._forget(len(self.times) - 1)
        return change

    def _sum(self, weights: Tensor, y: Tensor) -> Tensor:
        # In double precision: high orders weigh derivatives by hundreds, with alternating signs.
        double = torch.promote_types(y.dtype, torch.float64)
        total = torch.zeros_like(y, dtype=double)
        for weight, k in zip(weights, self.derivatives, strict=True):
            total = total + weight * k.to(double)
        return total.to(y.dtype)
