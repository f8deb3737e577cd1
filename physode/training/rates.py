r"""Learning rates as functions of the share of the training that is over, :math:`s \in [0, 1)`."""

from __future__ import annotations

import math

__all__ = ["one_cycle"]

_RISE, _FIRST, _LAST = 0.3, 25.0, 1e4


def one_cycle(largest: float, share: float) -> float:
    """Return the rate of a training that is over to `share`.

    It goes up from a 25th of the largest in the first 30 % and down to nearly 0, as cosines (Smith and Topin 2019).
    """
    first = largest / _FIRST
    if share < _RISE:
        return _cosine(first, largest, share / _RISE)
    return _cosine(largest, first / _LAST, (share - _RISE) / (1 - _RISE))


def _cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
