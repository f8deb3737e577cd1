"""Implicit methods without error control, for steps of a given size."""

from __future__ import annotations

from math import sqrt

from physode.solvers.implicit.runge_kutta import ImplicitRungeKutta

__all__ = ["FIXED"]

_R3, _R6, _R15 = sqrt(3), sqrt(6), sqrt(15)
_G = 1 - sqrt(2) / 2
_BOOK = "Hairer & Wanner, Solving ODEs II, "

FIXED = (
    ImplicitRungeKutta(name="implicit_euler", order=1, c=(1.0,), a=((1.0,),), b=(1.0,), reference=_BOOK + "IV.3"),
    ImplicitRungeKutta(name="implicit_midpoint", order=2, c=(0.5,), a=((0.5,),), b=(1.0,), reference=_BOOK + "IV.5"),
    ImplicitRungeKutta(
        name="trapezoid", order=2, c=(0.0, 1.0), a=((0.0,), (0.5, 0.5)), b=(0.5, 0.5), reference=_BOOK + "IV.3"
    ),
    ImplicitRungeKutta(
        name="sdirk2", order=2, c=(_G, 1.0), a=((_G,), (1 - _G, _G)), b=(1 - _G, _G), reference=_BOOK + "IV.6"
    ),
    ImplicitRungeKutta(
        name="trbdf2",
        order=2,
        c=(0.0, 2 * _G, 1.0),
        a=((0.0,), (_G, _G), (sqrt(2) / 4, sqrt(2) / 4, _G)),
        b=(sqrt(2) / 4, sqrt(2) / 4, _G),
        reference="M. E. Hosea & L. F. Shampine, Appl. Numer. Math. 20 (1996) 21-37",
    ),
    ImplicitRungeKutta(
        name="radauIIA3",
        order=3,
        c=(1 / 3, 1.0),
        a=((5 / 12, -1 / 12), (3 / 4, 1 / 4)),
        b=(3 / 4, 1 / 4),
        reference=_BOOK + "IV.5",
    ),
    ImplicitRungeKutta(
        name="radauIIA5",
        order=5,
        c=((4 - _R6) / 10, (4 + _R6) / 10, 1.0),
        a=(
            ((88 - 7 * _R6) / 360, (296 - 169 * _R6) / 1800, (-2 + 3 * _R6) / 225),
            ((296 + 169 * _R6) / 1800, (88 + 7 * _R6) / 360, (-2 - 3 * _R6) / 225),
            ((16 - _R6) / 36, (16 + _R6) / 36, 1 / 9),
        ),
        b=((16 - _R6) / 36, (16 + _R6) / 36, 1 / 9),
        reference=_BOOK + "IV.5",
    ),
    ImplicitRungeKutta(
        name="gl4",
        order=4,
        c=(1 / 2 - _R3 / 6, 1 / 2 + _R3 / 6),
        a=((1 / 4, 1 / 4 - _R3 / 6), (1 / 4 + _R3 / 6, 1 / 4)),
        b=(1 / 2, 1 / 2),
        reference=_BOOK + "IV.5",
    ),
    ImplicitRungeKutta(
        name="gl6",
        order=6,
        c=(1 / 2 - _R15 / 10, 1 / 2, 1 / 2 + _R15 / 10),
        a=(
            (5 / 36, 2 / 9 - _R15 / 15, 5 / 36 - _R15 / 30),
            (5 / 36 + _R15 / 24, 2 / 9, 5 / 36 - _R15 / 24),
            (5 / 36 + _R15 / 30, 2 / 9 + _R15 / 15, 5 / 36),
        ),
        b=(5 / 18, 4 / 9, 5 / 18),
        reference=_BOOK + "IV.5",
    ),
)
"""Euler's, the midpoint and the trapezoidal rule; diagonally implicit ones; Radau IIA and Gauss-Legendre."""
