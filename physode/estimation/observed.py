"""What was observed, in the forms in which people hand it to Python, as experiments with times and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physode.errors import DataError
from physode.estimation.problem import Calendar

Array = NDArray[np.float64]

_TIMES = ("t", "time", "times")


@dataclass(frozen=True)
class Series:
    """One experiment's observations: times (T,), values (T, C), NaN where missing, and their standard deviations; and
    what dates the times are, if they are.
    """

    name: str
    t: Array
    y: Array
    sigma: Array | None = None
    calendar: Calendar | None = None


@dataclass(frozen=True)
class Observed:
    """Experiments with the same columns."""

    columns: tuple[str, ...]
    series: tuple[Series, ...]


def observed(data: Any, *, time: str | None = None, experiment: str = "experiment") -> Observed:
    """Read data in any of these forms.

    A :class:`~physode.datasets.Trajectories`; a table, a mapping of columns or a DataFrame, with a column of times and
    perhaps one of experiments' labels and, for any column, one of standard deviations called ``<column>_sigma``; a pair
    ``(t, y)`` with y (T,), (T, C) or, of several experiments, (N, T, C).

    Parameters
    ----------
    data
        The data.
    time
        Name of the column of times; by default ``t`` or ``time``, or the first.
    experiment
        Name of the column of labels, where there is one.

    Raises
    ------
    DataError
        If it is none of these, columns are missing or no numbers, two rows have the same time, or shapes differ.
    """
    if hasattr(data, "y") and hasattr(data, "columns") and hasattr(data, "t") and not hasattr(data, "iloc"):
        return _trajectories(data)
    if isinstance(data, tuple | list) and len(data) == 2:
        return _pair(*data)
    if isinstance(data, Mapping) or hasattr(data, "iloc"):
        return _table({str(name): data[name] for name in data}, time, experiment)
    raise DataError(
        "data must be trajectories, a table (a dict of columns, a DataFrame) or a pair (t, y), "
        f"got {type(data).__name__}"
    )


def _trajectories(data: Any) -> Observed:
    rows = []
    for i in range(len(data.y)):
        t = data.t if data.t.ndim == 1 else data.t[i]
        sigma = None if data.sigma is None else np.asarray(data.sigma[i], dtype=np.float64)
        rows.append(Series(str(i), np.asarray(t, np.float64), np.asarray(data.y[i], np.float64), sigma))
    columns = data.columns or tuple(f"y{d + 1}" for d in range(data.y.shape[-1]))
    return Observed(tuple(columns), tuple(_ordered(row) for row in rows))


def _pair(t: Any, y: Any) -> Observed:
    times, values = _numbers(t, "t"), _numbers(y, "y")
    if times.ndim != 1:
        raise DataError(f"t must have one axis, got the shape {times.shape}")
    if values.ndim == 1:
        values = values[:, None]
    several = values[None] if values.ndim == 2 else values
    if several.ndim != 3 or several.shape[1] != len(times):
        raise DataError(f"y must be (T,), (T, C) or (N, T, C) with T = {len(times)} as t, got the shape {values.shape}")
    columns = tuple(f"y{d + 1}" for d in range(several.shape[-1]))
    return Observed(columns, tuple(_ordered(Series(str(i), times, own)) for i, own in enumerate(several)))


def _table(columns: dict[str, Any], time: str | None, experiment: str) -> Observed:
    if not columns:
        raise DataError("the table has no columns")
    name = time or next((own for own in columns if own.lower() in _TIMES), next(iter(columns)))
    if name not in columns:
        raise DataError(f"the table has no column {name!r} of times; it has {', '.join(columns)}")
    t = _numbers(columns.pop(name), name)
    labels = columns.pop(experiment, None)
    sigmas = {own: columns.pop(f"{own}_sigma") for own in list(columns) if f"{own}_sigma" in columns}
    if not columns:
        raise DataError(f"the table has times {name!r}, and no column of values")
    values = {own: _numbers(column, own) for own, column in columns.items()}
    for own, column in values.items():
        if column.shape != t.shape:
            raise DataError(f"the column {own!r} has {len(column)} rows, that of times {len(t)}; give them the same")
    y = np.stack(list(values.values()), 1)
    spread = None
    if sigmas:
        none = np.full(t.shape, np.nan)
        spread = np.stack([_numbers(sigmas[own], own) if own in sigmas else none for own in values], 1)
    if labels is None:
        return Observed(tuple(values), (_ordered(Series("0", t, y, spread)),))
    texts = np.asarray([str(label) for label in labels])
    series = []
    for label in dict.fromkeys(texts.tolist()):
        rows = texts == label
        series.append(_ordered(Series(label, t[rows], y[rows], None if spread is None else spread[rows])))
    return Observed(tuple(values), tuple(series))


def _numbers(values: Any, what: str) -> Array:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if np.asarray(values).dtype.kind in "mM":
        raise DataError(
            f"the column {what!r} holds dates or durations; make them numbers, such as "
            "(d - d.iloc[0]).dt.total_seconds() / 86400 in pandas"
        )
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the column {what!r} must hold numbers") from None


def _ordered(series: Series) -> Series:
    """Put rows into the order of time, and look at them."""
    where = f"experiment {series.name!r}"
    if not len(series.t):
        raise DataError(f"{where} has no rows; give at least one")
    if not np.isfinite(series.t).all():
        raise DataError(f"{where} has a time that is missing or infinite; remove its row, or mend it")
    if np.isinf(series.y).any():
        raise DataError(f"{where} has infinite values; write NaN where a value is missing")
    order = np.argsort(series.t, kind="stable")
    t, y = series.t[order], series.y[order]
    twice = np.flatnonzero(np.diff(t) == 0)
    if len(twice):
        raise DataError(
            f"{where} has two rows at time {t[twice[0]]:g}; keep one, or give them experiments of their own"
        )
    sigma = None if series.sigma is None else series.sigma[order]
    if sigma is not None:
        some = np.isfinite(sigma).any(0)
        wrong = np.isfinite(y) & some & ~(np.isfinite(sigma) & (sigma > 0))
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            raise DataError(f"{where} has a value without a standard deviation above 0 at time {t[row]:g}")
    return Series(series.name, t, y, sigma)
