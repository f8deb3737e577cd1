"""Methods of torchdiffeq's that are no entries of :data:`physode.solvers.tableaus.METHODS`."""

from __future__ import annotations

from physode.solvers.tableaus import Tableau

__all__ = ["FEHLBERG2", "HEUN3", "RK4_38"]

FEHLBERG2 = Tableau(
    name="fehlberg2",
    order=2,
    c=(0.0, 1 / 2, 1.0),
    a=((), (1 / 2,), (1 / 256, 255 / 256)),
    b=(1 / 512, 255 / 256, 1 / 512),
    b_err=((-1 / 512, 0.0, 1 / 512),),
    error_order=1,
    interpolant_order=2,
    reference="E. Fehlberg, NASA Technical Report R-315 (1969), RK1(2)",
)

HEUN3 = Tableau(
    name="heun3",
    order=3,
    c=(0.0, 1 / 3, 2 / 3),
    a=((), (1 / 3,), (0.0, 2 / 3)),
    b=(1 / 4, 0.0, 3 / 4),
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38",
)

RK4_38 = Tableau(
    name="rk4_38",
    order=4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
    reference="W. Kutta, Z. Math. Phys. 46 (1901) 435-453, the 3/8 rule",
)
