"""Implicit Runge-Kutta methods: their coefficients. Rows of diagonally implicit methods end on the diagonal."""

from __future__ import annotations

from math import sqrt

from physode.solvers.implicit.runge_kutta import ImplicitRungeKutta

__all__ = ["FIXED", "KENCARP5", "KVAERNO3"]

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
"""Without error control: Euler's, midpoint, trapezoidal rule, diagonally implicit ones, Radau IIA, Gauss-Legendre."""


def _kvaerno3() -> ImplicitRungeKutta:
    g = 0.435866521508459  # the root of 6 g^3 - 18 g^2 + 9 g - 1 that makes the method L-stable
    embedded = ((-4 * g**2 + 6 * g - 1) / (4 * g), (1 - 2 * g) / (4 * g), g, 0.0)
    b = ((6 * g - 1) / (12 * g), -1 / ((24 * g - 12) * g), (-6 * g**2 + 6 * g - 1) / (6 * g - 3), g)
    return ImplicitRungeKutta(
        name="kvaerno3",
        order=3,
        error_order=2,
        c=(0.0, 2 * g, 1.0, 1.0),
        a=((0.0,), (g, g), embedded[:3], b),
        b=b,
        b_error=tuple(value - other for value, other in zip(b, embedded, strict=True)),
        reference="A. Kvaerno, BIT Numer. Math. 44 (2004) 489-502",
    )


KVAERNO3 = _kvaerno3()
"""Kvaerno's pair of orders 3 and 2: its first stage explicit, both methods stiffly accurate."""


def _kencarp5() -> ImplicitRungeKutta:
    g, away = 41 / 200, 100.0
    b = (
        -872700587467 / 9133579230613, 0.0, 0.0, 22348218063261 / 9555858737531, -1143369518992 / 8141816002931,
        -39379526789629 / 19018526304540, 32727382324388 / 42900044865799, g,
    )  # fmt: skip
    embedded = (
        -975461918565 / 9796059967033, 0.0, 0.0, 78070527104295 / 32432590147079, -548382580838 / 3424219808633,
        -33438840321285 / 15594753105479, 3629800801594 / 4656183773603, 4035322873751 / 18575991585200,
    )  # fmt: skip
    return ImplicitRungeKutta(
        name="kencarp5",
        order=5,
        error_order=4,
        c=(0.0, 2 * g, 2935347310677 / 11292855782101, 1426016391358 / 7196633302097, 0.92, 0.24, 0.6, 1.0),
        a=(
            (0.0,),
            (g, g),
            (41 / 400, -567603406766 / 11931857230679, g),
            (683785636431 / 9252920307686, 0.0, -110385047103 / 1367015193373, g),
            (
                3016520224154 / 10081342136671, 0.0, 30586259806659 / 12414158314087,
                -22760509404356 / 11113319521817, g,
            ),
            (
                218866479029 / 1489978393911, 0.0, 638256894668 / 5436446318841, -1179710474555 / 5321154724896,
                -60928119172 / 8023461067671, g,
            ),
            (
                1020004230633 / 5715676835656, 0.0, 25762820946817 / 25263940353407, -2161375909145 / 9755907335909,
                -211217309593 / 5846859502534, -4269925059573 / 7827059040749, g,
            ),
            b,
        ),
        b=b,
        b_error=tuple(away * (value - other) for value, other in zip(b, embedded, strict=True)),
        filtered=True,
        reference="C. A. Kennedy & M. H. Carpenter, Appl. Numer. Math. 44 (2003) 139-181",
    )  # fmt: skip


KENCARP5 = _kencarp5()
"""ESDIRK5(4)8L[2]SA: order 5, L-stable, stiffly accurate, its first stage explicit and no stage outside the step.

It is the implicit half of Kennedy & Carpenter's ARK5(4)8L[2]SA. (Kvaerno's pair of this order has a stage at 1.23 h,
where the last step of a solve would leave the span.)

The published embedded method is no measure of the error. It all but meets the conditions of order 5, with residuals of
norm 4.9e-5, while those of order 6 that the method itself leaves have norm 1.7e-3: steps had errors of 3 to 40 times
their estimate. The embedded method here lies on the same line through the method, a hundred times as far away: its
order is 4, too. The estimate is filtered, since the stages' errors in stiff components would be magnified with it.
Errors of steps are then some tenth of their estimate, as rodas5p's are.
"""
