"""States between the outputs, to show motion at an even pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["interpolate", "progress_of"]

Array = np.ndarray[Any, Any]


def interpolate(t: Array, y: Array) -> Callable[[Array], Array]:
    """Return the cubic spline through states, a function of times: NaN outside of the times with finite states.

    Parameters
    ----------
    t
        Times, (T,), rising or falling.
    y
        States, (T, D); rows with a value that is not finite are passed over.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    known = np.isfinite(y).all(axis=-1)
    times, states = t[known], y[known]
    if len(times) == 0:
        return lambda at: np.full((*np.shape(at), y.shape[-1]), np.nan)
    if times[0] > times[-1]:
        times, states = times[::-1], states[::-1]
    spline: Any = CubicSpline(times, states) if len(times) > 3 else make_interp_spline(times, states, k=len(times) - 1)

    def states_at(at: Array) -> Array:
        inside = (times[0] <= at) & (at <= times[-1])
        found: Array = np.where(inside[..., None], spline(np.clip(at, times[0], times[-1])), np.nan)
        return found

    return states_at


def progress_of(t: Array, now: float) -> Array:
    """Return which of the times (T,) have come by `now`, whichever way time runs."""
    found: Array = (t <= now) if t[-1] >= t[0] else (t >= now)
    return found
