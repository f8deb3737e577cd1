"""Euler's method: order 1, one stage."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["EULER"]

EULER = Tableau(
    name="euler",
    order=1,
    c=(0.0,),
    a=((),),
    b=(1.0,),
    interpolant_order=1,
    reference="L. Euler, Institutionum calculi integralis, vol. 1, 1768",
)
