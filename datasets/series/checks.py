"""What must hold of irregular series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physode.datasets.files import shown
from physode.datasets.trajectories import Array
from physode.errors import DataError

__all__ = ["check_observed", "check_series"]


def check_series(
    *,
    t: Array,
    y: Array,
    channels: Sequence[str],
    units: Sequence[str],
    names: Sequence[str],
    attrs: Mapping[str, Any],
) -> None:
    """Raise `DataError` unless times, values and names go together as those of one `IrregularSeries`."""
    _check_arrays(t, y)
    for what, words, count, of in (
        ("channels", channels, y.shape[2], "channels"),
        ("units", units, y.shape[2], "channels"),
        ("names", names, y.shape[0], "series"),
    ):
        if len(words) != count:
            raise DataError(f"`{what}` must have one entry for each of the {count} {of} of `y`, got {len(words)}")
        _check_words(what, words)
    _check_statics(attrs.get("statics", {}), len(names))
    check_observed(t, y, channels=channels, names=names)
    empty = _first(np.logical_and.reduce(np.isnan(y), axis=(0, 1)))
    if empty is not None:
        raise DataError(f"channel {shown(channels[empty[0]])!r} has no value in any series; leave it out")


def check_observed(t: Array, y: Array, *, channels: Sequence[str], names: Sequence[str]) -> None:
    """Raise `DataError` unless times, (N, K), rise, values, (N, K, C), are finite, and each series has one."""
    _check_times(t, names)
    _check_values(t, y, channels, names)
    if (place := _first(np.logical_and.reduce(np.isnan(y), axis=(1, 2)))) is not None:
        raise DataError(f"series {shown(names[place[0]])!r} has no value at all; leave it out")


def _check_arrays(t: object, y: object) -> None:
    if not isinstance(t, np.ndarray) or t.dtype != np.float64:
        raise DataError(f"`t` must be a NumPy array of float64 numbers; got {_kind(t)}")
    if not isinstance(y, np.ndarray) or y.dtype not in (np.float32, np.float64):
        raise DataError(f"`y` must be a NumPy array of float32 or float64 numbers; got {_kind(y)}")
    if y.ndim != 3 or 0 in y.shape:
        raise DataError(f"`y` must have the shape (series, times, channels), none of them 0, got {y.shape}")
    if t.shape != y.shape[:2]:
        raise DataError(f"`t` must have the shape {y.shape[:2]} to go with `y` of shape {y.shape}, got {t.shape}")


def _kind(values: object) -> str:
    return f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"


def _check_words(what: str, words: Sequence[str]) -> None:
    seen: set[str] = set()
    for word in words:
        if not isinstance(word, str) or any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in word):
            raise DataError(f"`{what}` must hold words, got {word!r}")
        if what != "units" and (not word or word in seen):
            found = f"{shown(word)!r} stands there twice" if word else "one is empty"
            raise DataError(f"`{what}` must differ from each other and say something, but {found}; rename it")
        seen.add(word)


def _check_statics(statics: object, count: int) -> None:
    if not isinstance(statics, dict):
        raise DataError(f"`attrs['statics']` must be a dict of lists, got a {type(statics).__name__}")
    for name, values in statics.items():
        if not isinstance(values, list) or len(values) != count:
            raise DataError(f"`attrs['statics'][{name!r}]` must be a list of {count} values, one for each series")


def _check_times(t: Array, names: Sequence[str]) -> None:
    if (place := _first(np.isinf(t))) is not None:
        raise DataError(f"{_place(names, place)} has the time {t[place]}; give each value a finite time")
    if (place := _first(np.isnan(t[:, :-1]) & ~np.isnan(t[:, 1:]))) is not None:
        raise DataError(f"{_place(names, place)} has no time, but later ones follow; only a row's end may be NaN")
    steps = np.diff(t, axis=1)
    if (place := _first(steps <= 0)) is None:
        return
    i, k = place
    if steps[place] == 0:
        raise DataError(f"{_place(names, (i, k + 1))} has the time {t[place]} twice; keep one, or take their mean")
    raise DataError(f"{_place(names, (i, k + 1))} has the time {t[i, k + 1]} after {t[place]}; sort it by time")


def _check_values(t: Array, y: Array, channels: Sequence[str], names: Sequence[str]) -> None:
    if (place := _first(np.isinf(y))) is not None:
        i, k, c = place
        raise DataError(
            f"series {shown(names[i])!r}, time {t[i, k]}, channel {shown(channels[c])!r}: the value is {y[place]}; "
            "values must be finite, use NaN where one is missing"
        )
    if (place := _first(np.isnan(t) & ~np.isnan(y).all(axis=-1))) is not None:
        raise DataError(f"{_place(names, place)} has a value but no time; give it one, or make the value NaN")


def _first(wrong: Array) -> tuple[int, ...] | None:
    """Return the first place that is True, by rows."""
    if not wrong.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _place(names: Sequence[str], place: tuple[int, ...]) -> str:
    return f"series {shown(names[place[0]])!r}, point {place[1] + 1},"
