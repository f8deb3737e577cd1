"""Heun-Euler pair (RK12): order 2 with an embedded order 1."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["HEUN_EULER"]

HEUN_EULER = Tableau(
    name="heun_euler",
    order=2,
    c=(0.0, 1.0),
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    b_err=((-1 / 2, 1 / 2),),
    error_order=1,
    interpolant_order=2,
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38; the embedded method is Euler's",
)
