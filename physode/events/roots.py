"""Roots in brackets, for many functions at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["refine"]

_MOST = 200
_EPS = torch.finfo(torch.float64).eps


def refine(
    value: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    at_low: Tensor,
    at_high: Tensor,
    before: Tensor,
    wanted: Tensor,
    width: Tensor,
) -> Tensor:
    """Return where each function first leaves the sign it has at ``low``, by Chandrupatla's method.

    Inverse quadratic interpolation where the last three points are as on a monotonic curve, bisection elsewhere
    (Chandrupatla, Advances in Engineering Software 28 (1997) 145-149). Functions do not influence one another.

    Parameters
    ----------
    value
        The functions, ``(n,)`` arguments to ``(n,)`` values.
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
    Tensor
        The upper end of the last brackets: there, the sign has changed.
    """
    a, b, c = high, low, high  # the newest point, the other end of the bracket, the point before
    at_a, at_b, at_c = at_high, before * at_low.abs(), at_high
    early = torch.zeros_like(wanted)  # whether the newest point has the sign at the lower end
    share = torch.full_like(a, 0.5)
    for _ in range(_MOST):
        least = torch.maximum(width, 2 * _EPS * torch.maximum(a.abs(), b.abs()))
        going = wanted & ((b - a).abs() > least)
        if not bool(going.any()):
            break
        tried = torch.where(going, a + share * (b - a), a)
        found = value(tried)
        sign = torch.sign(found) == before
        same = sign == early
        c, at_c = (
            torch.where(going, torch.where(same, *pair), old) for pair, old in (((a, b), c), ((at_a, at_b), at_c))
        )
        b, at_b = (torch.where(going & ~same, new, old) for new, old in ((a, b), (at_a, at_b)))
        a, at_a, early = (torch.where(going, new, old) for new, old in ((tried, a), (found, at_a), (sign, early)))
        share = _share((a, b, c), (at_a, at_b, at_c), least)
    return torch.where(early, b, a)


def _share(points: tuple[Tensor, Tensor, Tensor], values: tuple[Tensor, Tensor, Tensor], least: Tensor) -> Tensor:
    """Return how far from the newest point to the other end of the bracket to go."""
    (a, b, c), (at_a, at_b, at_c) = points, values
    place, level = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
    monotonic = (level.square() < place) & ((1 - level).square() < 1 - place)
    share = at_a / (at_b - at_a) * at_c / (at_b - at_c)
    share = share + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
    share = torch.where(monotonic & torch.isfinite(share), share, 0.5)
    margin = (0.5 * least / (b - a).abs()).clamp(max=0.5)
    return torch.minimum(torch.maximum(share, margin), 1 - margin)
