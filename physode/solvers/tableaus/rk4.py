"""The classical Runge-Kutta method: order 4, four stages."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["RK4"]

RK4 = Tableau(
    name="rk4",
    order=4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    interpolant_order=3,
    reference="W. Kutta, Z. Math. Phys. 46 (1901) 435-453",
)
