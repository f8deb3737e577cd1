"""Kvaerno's pair of orders 3 and 2: diagonally implicit, its first stage explicit, both methods stiffly accurate."""

from __future__ import annotations

from physode.solvers.implicit.runge_kutta import ImplicitRungeKutta

__all__ = ["KVAERNO3"]

_G = 0.435866521508459  # the root of 6 g^3 - 18 g^2 + 9 g - 1 that makes the method L-stable

_EMBEDDED = ((-4 * _G**2 + 6 * _G - 1) / (4 * _G), (1 - 2 * _G) / (4 * _G), _G, 0.0)
_B = (
    (6 * _G - 1) / (12 * _G),
    -1 / ((24 * _G - 12) * _G),
    (-6 * _G**2 + 6 * _G - 1) / (6 * _G - 3),
    _G,
)

KVAERNO3 = ImplicitRungeKutta(
    name="kvaerno3",
    order=3,
    error_order=2,
    c=(0.0, 2 * _G, 1.0, 1.0),
    a=((0.0,), (_G, _G), _EMBEDDED[:3], _B),
    b=_B,
    b_error=tuple(value - other for value, other in zip(_B, _EMBEDDED, strict=True)),
    reference="A. Kvaerno, BIT Numer. Math. 44 (2004) 489-502",
)
