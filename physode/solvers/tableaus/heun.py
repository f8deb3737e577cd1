"""Heun's method, the explicit trapezoidal rule: order 2, two stages."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["HEUN"]

HEUN = Tableau(
    name="heun",
    order=2,
    c=(0.0, 1.0),
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    interpolant_order=2,
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38",
)
