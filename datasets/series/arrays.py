"""Times and values of series as arrays: made of others' arrays or of single values, and what must hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from physode.datasets.files import shown
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError


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


LARGEST = 1 << 32
"""Bytes that times and values of series may take as arrays: 4 GiB. The 4000 records of set-a take 0.25 GiB."""


@dataclass(frozen=True)
class Values:
    """R values, each of one series and channel at one time.

    Attributes
    ----------
    series, channel
        Places in the lists of names, (R,).
    time
        (R,), finite.
    value
        (R,); NaN where it is missing, which leaves the time.
    """

    series: Array
    time: Array
    channel: Array
    value: Array


def gather(values: Values, *, names: Sequence[str], channels: int) -> tuple[Array, Array]:
    """Return times (N, K) and values (N, K, C): each series has the times of all its channels, sorted.

    Parameters
    ----------
    values
        No two of one series, channel and time.
    names
        Labels of the N series, each with one value or more.
    channels
        Their number, C.

    Raises
    ------
    DataError
        If the arrays would take more than `LARGEST` bytes.
    """
    order = np.lexsort((values.time, values.series))
    series, time = values.series[order], values.time[order]
    new = np.ones(len(series), dtype=np.bool_)
    new[1:] = (np.diff(series) != 0) | (np.diff(time) != 0)
    counts = np.bincount(series[new], minlength=len(names))
    check_size(counts, names, channels)
    starts = np.cumsum(counts) - counts
    place = np.cumsum(new) - 1 - starts[series]
    shape = (len(names), int(counts.max()))
    t, y = np.full(shape, np.nan), np.full((*shape, channels), np.nan)
    t[series, place] = time
    y[series, place, values.channel[order]] = values.value[order]
    return t, y


def check_size(counts: Array, names: Sequence[str], channels: int) -> None:
    """Raise `DataError` if series of so many times, (N,), would take more than `LARGEST` bytes as one array."""
    longest = int(np.argmax(counts))
    size = 8 * len(names) * int(counts[longest]) * (channels + 1)
    if size > LARGEST:
        raise DataError(
            f"its {len(names)} series of up to {counts[longest]} times (series {shown(names[longest])!r}) and "
            f"{channels} channels would take {size / 2**30:.3g} GiB as one array, more than {LARGEST / 2**30:.3g}; "
            "divide it"
        )
