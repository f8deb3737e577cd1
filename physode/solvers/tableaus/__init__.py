"""The explicit Runge-Kutta methods by name: one file a method, one entry here."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau
from physode.solvers.tableaus.dopri5 import DOPRI5
from physode.solvers.tableaus.dopri8 import DOPRI8
from physode.solvers.tableaus.fixed_step import EULER, HEUN, MIDPOINT, RK4
from physode.solvers.tableaus.low_order import BOSH3, HEUN_EULER
from physode.solvers.tableaus.tsit5 import TSIT5

__all__ = ["METHODS", "Tableau"]

METHODS: dict[str, Tableau] = {
    tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4, HEUN_EULER, BOSH3, DOPRI5, TSIT5, DOPRI8)
}
