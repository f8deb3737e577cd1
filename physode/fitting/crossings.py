"""Where a profile crosses its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["crossings"]

Array = np.ndarray[Any, Any]


def crossings(values: Sequence[float], delta: Sequence[float], threshold: float) -> tuple[float | None, float | None]:
    r"""Return the first crossings of a threshold below and above the smallest value of a curve.

    :math:`\sqrt\Delta` is interpolated, by monotone cubics: of a parabola it is a straight line, so that these are
    exact.

    Parameters
    ----------
    values
        Rising.
    delta
        The curve there, its smallest value 0.
    threshold
        Which value it crosses.

    Returns
    -------
    tuple
        The crossings; None where there is none.
    """
    x, roots = np.asarray(values, dtype=np.float64), np.sqrt(np.maximum(delta, 0.0))
    least = int(np.argmin(delta))
    below = _first(x[least] - x[least::-1], roots[least::-1], threshold**0.5)
    above = _first(x[least:] - x[least], roots[least:], threshold**0.5)
    return None if below is None else float(x[least]) - below, None if above is None else float(x[least]) + above


def _first(distance: Array, roots: Array, wanted: float) -> float | None:
    """Return the smallest distance at which a curve from 0 has a value."""
    from scipy.interpolate import PchipInterpolator
    from scipy.optimize import brentq

    beyond = np.flatnonzero(roots >= wanted)
    if not len(beyond):
        return None
    end = beyond[0]
    curve = PchipInterpolator(distance, roots - wanted)
    return float(brentq(curve, distance[end - 1], distance[end]))
