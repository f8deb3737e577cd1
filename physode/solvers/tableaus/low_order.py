"""Embedded pairs of low order: Heun-Euler, order 2 with an embedded order 1, and Bogacki-Shampine, order 3 with 2."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["BOSH3", "HEUN_EULER"]

HEUN_EULER = Tableau.textbook(
    name="heun_euler",
    order=2,
    c=(0.0, 1.0),
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    b_hat=(1.0, 0.0),
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38; the embedded method is Euler's",
)

BOSH3 = Tableau.textbook(
    name="bosh3",
    order=3,
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    b_hat=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
    reference="P. Bogacki & L. F. Shampine, Appl. Math. Lett. 2 (1989) 321-325; interpolant: cubic Hermite",
)
