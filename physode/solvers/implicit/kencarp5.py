"""ESDIRK5(4)8L[2]SA: order 5, L-stable, stiffly accurate, its first stage explicit and no stage outside the step.

It is the implicit half of Kennedy & Carpenter's ARK5(4)8L[2]SA. (Kvaerno's pair of this order has a stage at 1.23 h,
where the last step of a solve would leave the span.)

The published embedded method is no measure of the error. It all but meets the conditions of order 5, with residuals of
norm 4.9e-5, while those of order 6 that the method itself leaves have norm 1.7e-3: steps had errors of 3 to 40 times
their estimate. The embedded method here lies on the same line through the method, a hundred times as far away: its
order is 4, too. The estimate is filtered, since the stages' errors in stiff components would be magnified with it.
Errors of steps are then some tenth of their estimate, as rodas5p's are.
"""

from __future__ import annotations

from physode.solvers.implicit.runge_kutta import ImplicitRungeKutta

__all__ = ["KENCARP5"]

_G = 41 / 200
_B = (
    -872700587467 / 9133579230613, 0.0, 0.0, 22348218063261 / 9555858737531, -1143369518992 / 8141816002931,
    -39379526789629 / 19018526304540, 32727382324388 / 42900044865799, _G,
)  # fmt: skip
_EMBEDDED = (
    -975461918565 / 9796059967033, 0.0, 0.0, 78070527104295 / 32432590147079, -548382580838 / 3424219808633,
    -33438840321285 / 15594753105479, 3629800801594 / 4656183773603, 4035322873751 / 18575991585200,
)  # fmt: skip
_AWAY = 100.0

KENCARP5 = ImplicitRungeKutta(
    name="kencarp5",
    order=5,
    error_order=4,
    c=(0.0, 2 * _G, 2935347310677 / 11292855782101, 1426016391358 / 7196633302097, 0.92, 0.24, 0.6, 1.0),
    a=(
        (0.0,),
        (_G, _G),
        (41 / 400, -567603406766 / 11931857230679, _G),
        (683785636431 / 9252920307686, 0.0, -110385047103 / 1367015193373, _G),
        (
            3016520224154 / 10081342136671, 0.0, 30586259806659 / 12414158314087, -22760509404356 / 11113319521817, _G,
        ),
        (
            218866479029 / 1489978393911, 0.0, 638256894668 / 5436446318841, -1179710474555 / 5321154724896,
            -60928119172 / 8023461067671, _G,
        ),
        (
            1020004230633 / 5715676835656, 0.0, 25762820946817 / 25263940353407, -2161375909145 / 9755907335909,
            -211217309593 / 5846859502534, -4269925059573 / 7827059040749, _G,
        ),
        _B,
    ),
    b=_B,
    b_error=tuple(_AWAY * (value - other) for value, other in zip(_B, _EMBEDDED, strict=True)),
    filtered=True,
    reference="C. A. Kennedy & M. H. Carpenter, Appl. Numer. Math. 44 (2003) 139-181",
)  # fmt: skip
