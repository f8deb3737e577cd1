"""The explicit Runge-Kutta methods by name: one file a method, one entry here."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau
from physode.solvers.tableaus.bosh3 import BOSH3
from physode.solvers.tableaus.dopri5 import DOPRI5
from physode.solvers.tableaus.dopri8 import DOPRI8
from physode.solvers.tableaus.euler import EULER
from physode.solvers.tableaus.heun import HEUN
from physode.solvers.tableaus.heun_euler import HEUN_EULER
from physode.solvers.tableaus.midpoint import MIDPOINT
from physode.solvers.tableaus.rk4 import RK4
from physode.solvers.tableaus.tsit5 import TSIT5

__all__ = ["METHODS", "Tableau"]

METHODS: dict[str, Tableau] = {
    tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4, HEUN_EULER, BOSH3, DOPRI5, TSIT5, DOPRI8)
}
