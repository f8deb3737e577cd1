"""Bogacki-Shampine pair (RK23): order 3 with an embedded order 2."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["BOSH3"]

BOSH3 = Tableau(
    name="bosh3",
    order=3,
    c=(0.0, 1 / 2, 3 / 4),
    a=((), (1 / 2,), (0.0, 3 / 4)),
    b=(2 / 9, 1 / 3, 4 / 9),
    b_err=((2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),),
    error_order=2,
    interpolant_order=3,
    reference="P. Bogacki & L. F. Shampine, Appl. Math. Lett. 2 (1989) 321-325; interpolant: cubic Hermite",
)
