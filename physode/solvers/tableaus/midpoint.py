"""The explicit midpoint rule (RK2): order 2, two stages."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["MIDPOINT"]

MIDPOINT = Tableau(
    name="midpoint",
    order=2,
    c=(0.0, 1 / 2),
    a=((), (1 / 2,)),
    b=(0.0, 1.0),
    interpolant_order=2,
    reference="C. Runge, Math. Ann. 46 (1895) 167-178",
)
