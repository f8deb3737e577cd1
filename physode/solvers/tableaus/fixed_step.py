"""Explicit methods without error control, for steps of a given size."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["EULER", "HEUN", "MIDPOINT", "RK4"]

EULER = Tableau(
    name="euler",
    order=1,
    c=(0.0,),
    a=((),),
    b=(1.0,),
    interpolant_order=1,
    reference="L. Euler, Institutionum calculi integralis, vol. 1, 1768",
)

MIDPOINT = Tableau(
    name="midpoint",
    order=2,
    c=(0.0, 1 / 2),
    a=((), (1 / 2,)),
    b=(0.0, 1.0),
    interpolant_order=2,
    reference="C. Runge, Math. Ann. 46 (1895) 167-178",
)

HEUN = Tableau(
    name="heun",
    order=2,
    c=(0.0, 1.0),
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    interpolant_order=2,
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38",
)
"""The explicit trapezoidal rule."""

RK4 = Tableau(
    name="rk4",
    order=4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    reference="W. Kutta, Z. Math. Phys. 46 (1901) 435-453",
)
"""The classical Runge-Kutta method."""
