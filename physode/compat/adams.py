r"""Adams methods: explicit (Bashforth), and implicit (Moulton) by functional iteration from the explicit prediction.

With derivatives :math:`f_j` known at times :math:`t_j`, a step of size :math:`h` integrates their interpolation
polynomial (Hairer, Norsett & Wanner, Solving ODEs I, Sect. III.1):

.. math::
    y_{n+1} = y_n + h \sum_j w_j f_j, \qquad w_j = \int_0^1 \ell_j(t_n + h s) \, ds ,

:math:`\ell_j` the Lagrange polynomials on the times themselves, so that steps may differ in size.
"""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from physode.compat.errors import InvalidArgument
from physode.compat.tableaus import RK4_38
from physode.solvers.callbacks import Observer
from physode.solvers.grid import Grid
from physode.solvers.norms import scale_of
from physode.solvers.runge_kutta import Rhs, take_step
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["Adams", "adams_weights"]

_LEAST_ORDER, _GREATEST_ORDER = 4, 12
_GAUSS_POINTS = 7  # exact to degree 13


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


@dataclass
class Adams:
    """An Adams method and its memory.

    Attributes
    ----------
    implicit
        Whether predictions are corrected, ``max_iters`` times at most, until they change by less than the tolerance.
    order
        How many past derivatives are kept. The first steps, with fewer than three, are Kutta's 3/8 rule.
    times, derivatives
        The past ones, the latest first.
    """

    implicit: bool
    rtol: Tensor | float
    atol: Tensor | float
    max_iters: int
    order: int
    times: deque[Tensor] = field(default_factory=deque)
    derivatives: deque[Tensor] = field(default_factory=deque)

    @classmethod
    def of(cls, *, implicit: bool, rtol: Tensor | float, atol: Tensor | float, max_order: int, max_iters: int) -> Adams:
        """Check the options and start with an empty memory."""
        if max_order > _GREATEST_ORDER:
            raise InvalidArgument(f"max_order must be at most {_GREATEST_ORDER}, got {max_order}")
        if max_order < _LEAST_ORDER:
            warnings.warn(f"max_order is below {_LEAST_ORDER}, so the solver reduces to `rk4`.", stacklevel=5)
        return cls(implicit, rtol, atol, max_iters, max_order - 1)

    def walk_grid(self, rhs: Rhs, grid: Grid, y0: Tensor, *, wanted: SavePolicy, observer: Observer) -> Trace:
        """Take the steps of a grid, going on from the memory."""
        record = Trace(nodes=[y0], ended=grid.ends[-1].detach())
        y = y0
        for t, h, end in zip(*grid, strict=True):
            observer.before(t, y, h)
            k = rhs(t, y)
            self._remember(t, k)
            step_end = self._step(rhs, t, h, end, y, k)
            dense = hermite(h, y, step_end, k, rhs(end, step_end)) if wanted.inside(t, end) else None
            record.append(t, h, end, step_end, dense)
            y = step_end
            if observer.after(record, True):
                record.ended = end.detach()
                break
        return record

    def _remember(self, t: Tensor, k: Tensor) -> None:
        self.times.appendleft(t)
        self.derivatives.appendleft(k)
        while len(self.times) > max(self.order, 0):
            self._forget()

    def _forget(self) -> None:
        self.times.pop()
        self.derivatives.pop()

    def _step(self, rhs: Rhs, t: Tensor, h: Tensor, end: Tensor, y: Tensor, k: Tensor) -> Tensor:
        if len(self.times) < _LEAST_ORDER - 1:
            return take_step(rhs, RK4_38, t, y, h, k).y
        past = torch.stack(list(self.times))
        change = self._sum(h * adams_weights(past, t, h), y)
        if not self.implicit:
            return y + change
        weights = h * adams_weights(torch.cat([end[None], past]), t, h)
        known, weight = self._sum(weights[1:], y), weights[0].to(y.dtype)
        for _ in range(self.max_iters):
            before, change = change, weight * rhs(end, y + change) + known
            scale = scale_of(before, change, self.rtol, self.atol)
            if bool(((change - before).abs() / scale).max() < 1):
                return y + change
        warnings.warn("Functional iteration did not converge. Solution may be incorrect.", stacklevel=6)
        self._forget()
        return y + change

    def _sum(self, weights: Tensor, y: Tensor) -> Tensor:
        # In double precision: high orders weigh derivatives by hundreds, with alternating signs.
        double = torch.promote_types(y.dtype, torch.float64)
        total = torch.zeros_like(y, dtype=double)
        for weight, k in zip(weights, self.derivatives, strict=True):
            total = total + weight * k.to(double)
        return total.to(y.dtype)


def hermite(h: Tensor, y: Tensor, y_end: Tensor, k: Tensor, k_end: Tensor) -> Tensor:
    """Return the coefficients of cubic Hermite interpolation, as :mod:`physode.solvers.interpolation` has them."""
    size, change = h.to(y.dtype), y_end - y
    first = size * k
    return torch.stack([change, first - change, 2 * change - first - size * k_end])
