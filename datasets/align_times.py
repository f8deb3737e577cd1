"""Series of observations with times of their own, brought to common times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physode.datasets.trajectories import Array
from physode.errors import DataError

_LARGEST = 1 << 28  # numbers that may be set aside for common times, 2 GiB


@dataclass(frozen=True)
class Series:
    """Observations of D components at K times that rise or fall strictly.

    Attributes
    ----------
    t
        Times, (K,).
    y
        Values, (K, D); NaN where missing.
    sigma
        Standard deviations, (K, D), or None.
    """

    t: Array
    y: Array
    sigma: Array | None = None


def check_order(t: Array, lines: Array, who: str = "") -> None:
    """Raise `DataError` unless times, (K,), rise or fall strictly.

    Parameters
    ----------
    lines
        The row of each time in its file, (K,).
    who
        Whose times they are, for the message: empty, or such as ``body Earth``.
    """
    of = f" of {who}" if who else ""
    order = np.argsort(t, kind="stable")
    same = np.flatnonzero(np.diff(t[order]) == 0)
    if same.size:
        first, second = order[same[0]], order[same[0] + 1]
        raise DataError(f"rows {lines[first]} and {lines[second]} both hold the time {t[first]:.12g}{of}; keep one")
    steps = np.diff(t)
    rising = np.sign(steps).sum() >= 0
    against = np.flatnonzero(steps < 0 if rising else steps > 0)
    if against.size:
        k = against[0]
        raise DataError(
            f"row {lines[k + 1]}: the time {t[k + 1]:.12g}{of} comes after {t[k]:.12g}; "
            "times must rise or fall throughout: sort the rows"
        )


def side_by_side(series: Sequence[Series], names: Sequence[str]) -> Series:
    """Join series of the same system: all their times, all their components, NaN where one has no observation.

    Raises
    ------
    DataError
        If the times of some rise and those of others fall, or if so few are common that the result is too large.
    """
    rising = [each.t[-1] > each.t[0] for each in series if len(each.t) > 1]
    if len(set(rising)) > 1:
        raise DataError(f"times of {names[0]} and of other bodies run opposite ways; sort the rows by time")
    grid = np.unique(np.concatenate([each.t for each in series]))
    if rising and not rising[0]:
        grid = grid[::-1].copy()
    _check_size(len(grid) * sum(each.y.shape[-1] for each in series))
    spread = [_spread(each, grid) for each in series]
    deviations = [each.sigma for each in spread if each.sigma is not None]
    return Series(
        grid,
        np.concatenate([each.y for each in spread], axis=-1),
        np.concatenate(deviations, axis=-1) if deviations else None,
    )


def stacked(series: Sequence[Series], labels: Sequence[str]) -> tuple[Array, Array, Array | None]:
    """Make trajectories of series of the same components.

    Where numbers of times differ, one series must have the times of all the others, which are then missing at the rest.

    Returns
    -------
    tuple
        Times, (T,) or (N, T); values, (N, T, D); standard deviations, (N, T, D), or None.

    Raises
    ------
    DataError
        If there is one time only, if series differ in their number of times and none holds those of all others, or if
        the result is too large.
    """
    longest = max(range(len(series)), key=lambda i: len(series[i].t))
    grid = series[longest].t
    if len(grid) < 2:
        raise DataError(f"there is one time only, {grid[0]:.12g}; a fit needs two or more")
    if any(len(each.t) != len(grid) for each in series):
        for each, label in zip(series, labels, strict=True):
            if not np.isin(each.t, grid).all():
                raise DataError(
                    f"trajectory {label} has {len(each.t)} times, trajectory {labels[longest]} {len(grid)}, and not "
                    "all of the fewer are among the more; give each the same number, or a file of its own"
                )
        _check_size(len(series) * len(grid) * series[longest].y.shape[-1])
        series = [_spread(each, grid) for each in series]
    shared = all(np.array_equal(each.t, grid) for each in series)
    t = grid if shared else np.stack([each.t for each in series])
    deviations = [each.sigma for each in series if each.sigma is not None]
    return t, np.stack([each.y for each in series]), np.stack(deviations) if deviations else None


def missing_notes(t: Array, missing: Array, names: Sequence[str], unit: str) -> list[str]:
    """Return a note for each component, or body, that is missing at some times.

    Parameters
    ----------
    t
        Times, (T,) or (N, T).
    missing
        Where what `names` names is missing, (N, T, len(names)).
    unit
        The unit of times.
    """
    notes = []
    times = np.broadcast_to(t, missing.shape[:2])
    for i, name in enumerate(names):
        where = missing[..., i]
        if where.any():
            first = f"{times[where][0]:.6g} {unit}".rstrip()
            notes.append(
                f"{name} is missing at {where.sum()} of {where.size} times, first at {first}; treated as missing"
            )
    return notes


def _check_size(count: int) -> None:
    if count > _LARGEST:
        raise DataError(
            f"its common times would hold {count} numbers, most of them missing; give the same times to all bodies, "
            "and about as many to each trajectory"
        )


def _spread(series: Series, grid: Array) -> Series:
    """Put a series on a grid that holds its times."""
    order = np.argsort(grid)
    rows = order[np.searchsorted(grid[order], series.t)]

    def put(values: Array) -> Array:
        full = np.full((len(grid), values.shape[-1]), np.nan)
        full[rows] = values
        return full

    return Series(grid, put(series.y), None if series.sigma is None else put(series.sigma))
