"""How a cost grows: slopes of logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["slope"]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the least-squares slope of log y over log x: 1 for costs that grow in proportion, 0 for constant ones.

    Raises
    ------
    ValueError
        If there are fewer than two points, or any is not positive, or all x are equal.
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"a slope needs two points or more, got {len(x)} and {len(y)} values")
    if min(*x, *y) <= 0:
        raise ValueError("logarithms need positive values")
    a, b = ([math.log(value) for value in values] for values in (x, y))
    mean_a, mean_b = (sum(values) / len(values) for values in (a, b))
    spread = sum((value - mean_a) ** 2 for value in a)
    if spread == 0:
        raise ValueError("a slope needs two different x")
    return sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True)) / spread
