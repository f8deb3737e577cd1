"""Dormand-Prince pair (RK45): order 5 with an embedded order 4."""

from __future__ import annotations

from physode.solvers.tableaus.base import Tableau

__all__ = ["DOPRI5"]

DOPRI5 = Tableau.textbook(
    name="dopri5",
    order=5,
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    b_hat=(5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
    d=(
        (
            -12715105075 / 11282082432, 0.0, 87487479700 / 32700410799, -10690763975 / 1880347072,
            701980252875 / 199316789632, -1453857185 / 822651844, 69997945 / 29380423,
        ),
    ),
    interpolant_order=4,
    reference=(
        "J. R. Dormand & P. J. Prince, J. Comput. Appl. Math. 6 (1980) 19-26; "
        "interpolant: Hairer, Norsett & Wanner, Solving ODEs I, Sect. II.6"
    ),
)  # fmt: skip
