"""What runs cost: whether a larger one is worth starting, foretold from a smaller one's, and how costs grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Cost", "refusal", "slope"]


class Cost(NamedTuple):
    """Seconds and bytes of one run."""

    seconds: float
    bytes: int

    def times(self, factor: float) -> Cost:
        """Return the cost of a run larger by a factor, were it in proportion: too much if anything."""
        return Cost(self.seconds * factor, int(self.bytes * factor))


def refusal(cost: Cost, *, longest: float, available: int, share: float = 0.75) -> str | None:
    """Return why a run of this cost is not started, or None."""
    if cost.bytes > share * available:
        return f"it would need about {cost.bytes / 1e9:.0f} GB of {available / 1e9:.0f} GB at hand"
    if cost.seconds > longest:
        return f"one run would take about {cost.seconds:.0f} s"
    return None


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
