"""Checks of what all simulators take, made before any long work."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physode.rhs import System

__all__ = [
    "Floats",
    "check_constants",
    "checked_count",
    "checked_noise",
    "checked_states",
    "checked_times",
    "repeated",
    "time_grid",
]

Floats = NDArray[np.float64]


def checked_count(n: int) -> int:
    """Return the number of trajectories, or raise ``ValueError`` if it is below 1."""
    if n < 1:
        raise ValueError(f"`n` must be at least 1 trajectory, got {n}")
    return n


def time_grid(*, t_end: float, points: int) -> Floats:
    """Return `points` equally spaced times from 0 to `t_end`, both included.

    Raises
    ------
    ValueError
        If `t_end` is not finite and above 0, or `points` is below 2.
    """
    if not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and above 0, got {t_end}")
    if points < 2:
        raise ValueError(f"`points` must be at least 2, the start and the end, got {points}")
    return np.linspace(0.0, t_end, points)


def checked_times(
    t: ArrayLike | None, *, t_end: float | None, points: int | None, default: tuple[float, int]
) -> Floats:
    """Return the output times: `t` as given, or a grid of `t_end` and `points`, each by `default` where None.

    Raises
    ------
    ValueError
        If both `t` and a grid are given, or either is out of range.
    """
    if t is None:
        return time_grid(t_end=default[0] if t_end is None else t_end, points=default[1] if points is None else points)
    if t_end is not None or points is not None:
        raise ValueError("give either `t` or `t_end` and `points`, not both")
    times = np.array(t, dtype=np.float64)
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"`t` must be one row of at least 2 times, got shape {times.shape}")
    return times


def checked_noise(noise: float | Sequence[float], components: int) -> Floats:
    """Return the standard deviation of the observation noise of each component.

    Raises
    ------
    ValueError
        If a value is negative or not finite, or there is neither one value nor one a component.
    """
    sigma = np.asarray(noise, dtype=np.float64)
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise ValueError(f"`noise` must be finite and not below 0, got {noise}")
    if sigma.shape not in {(), (components,)}:
        raise ValueError(f"`noise` must be one number, or one for each of {components} columns, got {sigma.size}")
    return np.broadcast_to(sigma, (components,))


def checked_states(y0: ArrayLike, components: int) -> Floats:
    """Return initial states as (N, components); one state alone counts as N = 1.

    Raises
    ------
    ValueError
        If the last axis has another length, or a value is not finite.
    """
    states = np.array(y0, dtype=np.float64)
    if states.ndim not in (1, 2) or states.shape[-1] != components or len(states) == 0:
        raise ValueError(f"`y0` must have shape ({components},) or (n, {components}), got {states.shape}")
    if not np.isfinite(states).all():
        raise ValueError("`y0` must be finite, got NaN or infinite values; correct them")
    return np.atleast_2d(states)


def check_constants(system: System, n: int) -> None:
    """Raise ``ValueError`` unless each constant is one for all, or one for each of `n` trajectories."""
    for name in system.batched():
        count = len(system.constants[name])
        if count != n:
            raise ValueError(f"`{name}` must be given once, or for each of n = {n} trajectories, got {count} rows")


def repeated(y0: ArrayLike, n: int, *, components: int) -> Floats:
    """Return checked initial states (n, components) from one for all trajectories or one for each.

    Raises
    ------
    ValueError
        As :func:`checked_states`, and if there are several states but not `n`.
    """
    states = checked_states(y0, components)
    if len(states) not in {1, n}:
        raise ValueError(f"`y0` must be one state, or one for each of n = {n} trajectories, got {len(states)}")
    return np.repeat(states, n, axis=0) if len(states) < n else states
