"""Roots in brackets, for many functions at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from physode.solvers.numbers import (
    Number,
    anywhere,
    clamp,
    isfinite,
    logical_not,
    maximum,
    minimum,
    sign,
    where,
)  # fmt: skip

__all__ = ["refine"]

_MOST = 200
_EPS = torch.finfo(torch.float64).eps


def refine(
    value: Callable[[Number], Number],
    low: Number,
    high: Number,
    at_low: Number,
    at_high: Number,
    before: Number,
    wanted: Number,
    width: Number,
) -> Number:
    """Return where each function first leaves the sign it has at ``low``, by Chandrupatla's method.

    Inverse quadratic interpolation where the last three points are as on a monotonic curve, bisection elsewhere
    (Chandrupatla, Advances in Engineering Software 28 (1997) 145-149). Functions do not influence one another.

    Parameters
    ----------
    value
        The functions, ``(n,)`` arguments to ``(n,)`` values; or one function of a float, all else being floats, too.
    low, high
        The brackets, ``low < high``.
    at_low, at_high
        The values there; a value at ``low`` may be zero, or of the wrong sign by rounding.
    before
        The sign, -1 or 1, that counts as that at ``low``.
    wanted
        Which functions are to be looked at.
    width
        How narrow a bracket is narrow enough.

    Returns
    -------
    Number
        The upper end of the last brackets: there, the sign has changed.
    """
    a, b, c = high, low, high  # the newest point, the other end of the bracket, the point before
    at_a, at_b, at_c = at_high, before * abs(at_low), at_high
    early = wanted & False  # whether the newest point has the sign at the lower end
    share: Number = 0.5
    for _ in range(_MOST):
        least = maximum(width, 2 * _EPS * maximum(abs(a), abs(b)))
        going = wanted & (abs(b - a) > least)
        if not anywhere(going):
            break
        tried = where(going, a + share * (b - a), a)
        found = value(tried)
        now = sign(found) == before
        same = now == early
        c, at_c = (where(going, where(same, *pair), old) for pair, old in (((a, b), c), ((at_a, at_b), at_c)))
        b, at_b = (where(going & logical_not(same), new, old) for new, old in ((a, b), (at_a, at_b)))
        a, at_a, early = (where(going, new, old) for new, old in ((tried, a), (found, at_a), (now, early)))
        share = _share((a, b, c), (at_a, at_b, at_c), least)
    return where(early, b, a)


def _share(points: tuple[Number, ...], values: tuple[Number, ...], least: Number) -> Number:
    """Return how far from the newest point to the other end of the bracket to go."""
    (a, b, c), (at_a, at_b, at_c) = points, values
    place, level = _over(a - b, c - b), _over(at_a - at_b, at_c - at_b)
    monotonic = (level * level < place) & ((1 - level) * (1 - level) < 1 - place)
    share = _over(at_a, at_b - at_a) * _over(at_c, at_b - at_c)
    share = share + _over(c - a, b - a) * _over(at_a, at_c - at_a) * _over(at_b, at_c - at_b)
    share = where(monotonic & isfinite(share), share, 0.5)
    margin = clamp(_over(0.5 * least, abs(b - a)), high=0.5)
    return minimum(maximum(share, margin), 1 - margin)


def _over(a: Number, b: Number) -> Number:
    """Return a quotient, NaN or infinite where the divisor is zero."""
    return a / b if isinstance(b, Tensor) or b != 0.0 else math.nan
