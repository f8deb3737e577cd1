"""Arrays of others as times and values of series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

__all__ = ["observed_arrays", "of_trajectories"]


def of_trajectories(trajectories: Trajectories) -> tuple[Array, Array, list[str]]:
    """Return rising times (N, T) and values (N, T, D) of trajectories, and a note of what is left out."""
    y = _floating(trajectories.y)
    t = np.broadcast_to(trajectories.t, y.shape[:2]).astype(np.float64)
    falling = t[:, -1] < t[:, 0]
    t[falling] = t[falling, ::-1]
    if falling.any():
        y = y.copy()
        y[falling] = y[falling, ::-1]
    lost = [name for name in ("y_clean", "sigma") if getattr(trajectories, name) is not None]
    lost += [f"params/{name}" for name in trajectories.params]
    return t, y, [f"left out, as series have no place for it: {', '.join(lost)}"] if lost else []


def observed_arrays(t: npt.ArrayLike, y: npt.ArrayLike, mask: npt.ArrayLike | None) -> tuple[Array, Array]:
    """Return times (N, K), NaN in padding, and values (N, K, C), NaN where the mask is False.

    Padding is the end of a row from the first time on that does not rise and has no value after it.

    Raises
    ------
    DataError
        If the arrays hold no real numbers, or their shapes do not go together.
    """
    values, times = _real("y", y), _real("t", t)
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"`y` must have the shape (series, times, channels), none of them 0, got {values.shape}")
    if times.shape not in {values.shape[:2], values.shape[1:2]}:
        raise DataError(
            f"`t` must have the shape {values.shape[1:2]} or {values.shape[:2]} to go with `y` of shape "
            f"{values.shape}, got {times.shape}"
        )
    values = _floating(values)
    if mask is not None:
        values = np.where(_full_mask(mask, values), values, values.dtype.type(np.nan))
    times = np.broadcast_to(times, values.shape[:2]).astype(np.float64)
    times[_padding(times, np.logical_and.reduce(np.isnan(values), axis=-1))] = np.nan
    return times, values


def _real(name: str, values: npt.ArrayLike) -> Array:
    found = np.asarray(values)
    if found.dtype.kind not in "fiub":
        raise DataError(f"`{name}` must hold real numbers, got an array of {found.dtype}")
    return found


def _floating(values: Array) -> Array:
    return values if values.dtype in (np.float32, np.float64) and values.dtype.isnative else values.astype(np.float64)


def _full_mask(mask: npt.ArrayLike, values: Array) -> Array:
    seen = np.asarray(mask)
    if seen.shape == values.shape[:2]:
        seen = seen[..., None]
    elif seen.shape != values.shape:
        raise DataError(f"`mask` must have the shape {values.shape} or {values.shape[:2]}, got {seen.shape}")
    if seen.dtype != np.bool_ and not np.isin(seen, (0, 1)).all():
        raise DataError("`mask` must be True where a value is observed and False elsewhere, or 1 and 0")
    return seen.astype(np.bool_)


def _padding(t: Array, empty: Array) -> Array:
    """Where a row is padded, (N, K); `empty` where it has no value."""
    rest = np.logical_and.accumulate(empty[:, ::-1], axis=1)[:, ::-1]
    stops = np.zeros_like(rest)
    stops[:, 1:] = t[:, 1:] <= t[:, :-1]
    padding: Array = np.logical_or.accumulate(rest & stops, axis=1)
    return padding
