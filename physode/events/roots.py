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
    """Return where each function first leaves the sign it has at ``low``: regula falsi, each third time bisection.

    The Illinois rule halves the value at an end that stays (Dowell & Jarratt, BIT 11 (1971) 168-174). Functions do not
    influence one another.

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
    stayed = torch.zeros_like(before)
    for i in range(_MOST):
        open_ = wanted & (high - low > torch.maximum(width, 2 * _EPS * high.abs()))
        if not bool(open_.any()):
            break
        difference = at_low - at_high
        middle = low + (high - low) * at_low / torch.where(difference == 0, 1.0, difference)
        trusted = (middle > low) & (middle < high) if i % 3 != 2 else torch.zeros_like(open_)
        middle = torch.where(trusted, middle, low + (high - low) / 2)
        found = value(torch.where(open_, middle, high))
        early = torch.sign(found) == before
        up, down = open_ & early, open_ & ~early
        low, high = torch.where(up, middle, low), torch.where(down, middle, high)
        at_high = torch.where(down, found, torch.where(up & (stayed == 1), at_high / 2, at_high))
        at_low = torch.where(up, found, torch.where(down & (stayed == -1), at_low / 2, at_low))
        stayed = torch.where(up, 1.0, torch.where(down, -1.0, stayed))
    return high
