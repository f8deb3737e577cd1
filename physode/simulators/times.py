"""When trajectories are observed: on one grid, at random times of their own, or as given."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from physode.simulators.sampling import Floats, generator

__all__ = ["Times", "check_kind", "count_points", "observation_times", "random_times", "time_grid"]

_MAX_DRAWS = 1000

Times = Literal["grid", "random"]
"""One grid for all trajectories, or random times of each trajectory's own."""


def time_grid(*, t_end: float, points: int) -> Floats:
    """Return `points` equally spaced times from 0 to `t_end`, both included.

    Raises
    ------
    ValueError
        If `t_end` is not finite and above 0, or `points` is below 2.
    """
    _check_span(t_end)
    if points < 2:
        raise ValueError(f"`points` must be at least 2, the start and the end, got {points}")
    grid = np.linspace(0.0, t_end, points)
    if not (np.diff(grid) > 0.0).all():
        raise ValueError(f"`t_end` {t_end:g} has no room for {points} different times; raise it")
    return grid


def random_times(*, t_end: float, points: int, n: int, seed: int) -> Floats:
    """Draw the times at which each trajectory is observed, uniform in (0, `t_end`] and sorted: (n, points).

    A row depends on `seed` and its index only. Times of a row are all different.

    Raises
    ------
    ValueError
        If `t_end` is not finite and above 0, or `points` is below 1.
    """
    _check_span(t_end)
    if points < 1:
        raise ValueError(f"`points` must be at least 1, got {points}")
    return np.stack([_draw(generator(seed, "times", index), t_end, points) for index in range(n)])


def observation_times(
    t: ArrayLike | None,
    *,
    times: Times,
    t_end: float | None,
    points: int | None,
    default: tuple[float, int],
    n: int,
    seed: int,
) -> tuple[Floats, float | None]:
    """Return output times, and the time of the initial state where it is not the first of them.

    Parameters
    ----------
    t
        Times as given, (T,) or (n, T), or None to make them.
    times, t_end, points
        How they are made: kind, end and number, the last two by `default` where None.
    n, seed
        Number of trajectories, and seed of random times.

    Raises
    ------
    ValueError
        If both `t` and the making of times are given, or either is out of range.
    """
    check_kind(times)
    if t is None:
        end, count = default[0] if t_end is None else t_end, default[1] if points is None else points
        if times == "grid":
            return time_grid(t_end=end, points=count), None
        return random_times(t_end=end, points=count, n=n, seed=seed), 0.0
    if t_end is not None or points is not None or times == "random":
        raise ValueError("give either `t` or `t_end`, `points` and `times`, not both")
    given = np.array(t, dtype=np.float64)
    if given.ndim not in {1, 2} or given.shape[-1] < 2 or given.shape[:-1] not in {(), (n,)}:
        raise ValueError(
            f"`t` must be one row of at least 2 times, or one for each of n = {n} trajectories, got shape {given.shape}"
        )
    return given, None


def count_points(t: ArrayLike | None, points: int | None, default: int) -> int:
    """Return how many output times a trajectory will have: those given, `points`, or as many as by default."""
    if t is not None:
        return int(np.shape(t)[-1]) if np.ndim(t) else 1
    return default if points is None else points


def check_kind(times: str) -> None:
    """Raise ``ValueError`` unless `times` is a known kind."""
    if times not in get_args(Times):
        raise ValueError(f"`times` must be one of: {', '.join(get_args(Times))}; got {times!r}")


def _check_span(t_end: float) -> None:
    if not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"`t_end` must be finite and above 0, got {t_end}")


def _draw(rng: np.random.Generator, t_end: float, points: int) -> Floats:
    for _ in range(_MAX_DRAWS):
        drawn = np.sort(t_end * (1.0 - rng.random(points)))  # random() may be 0, the initial state's time, never 1
        if drawn[0] > 0.0 and (np.diff(drawn) > 0.0).all():
            return drawn
    raise ValueError(f"`t_end` {t_end:g} has no room for {points} different times; raise it")
