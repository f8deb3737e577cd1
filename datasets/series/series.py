"""Series that are observed at times of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from physode.datasets.files import shown
from physode.datasets.series.arrays import check_observed, check_series, observed_arrays, of_trajectories
from physode.datasets.table import quoted
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError


@dataclass(frozen=True, eq=False)
class IrregularSeries:
    """N series of C channels, each with up to K times of its own, at which some channels have values.

    Attributes
    ----------
    t
        Times, float64, (N, K), strictly rising along each row; NaN at the end of a row that has fewer than K.
    y
        Values, float32 or float64, (N, K, C); NaN where a value is missing, and always where `t` is.
    channels
        Names of the C channels, all different.
    units
        Their units, ``""`` for a pure number.
    names
        Labels of the N series, all different.
    attrs
        What else is known: ``name``, ``source``, ``time_unit``, ``notes`` (lines worth saying), ``statics`` (by name a
        list with one value a series), ... Values are what JSON can say, and NumPy arrays of numbers.

    Raises
    ------
    DataError
        If these do not fit together, times do not rise, a time or value is infinite, or a series or channel has no
        value at all.
    """

    t: Array
    y: Array
    channels: tuple[str, ...]
    units: tuple[str, ...]
    names: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_series(**vars(self))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Where there is a value, (N, K, C)."""
        return np.isfinite(self.y)

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """How many times of each series have a value in any channel, (N,)."""
        counts: npt.NDArray[np.int64] = self.mask.any(axis=-1).sum(axis=-1)
        return counts

    @property
    def spans(self) -> Array:
        """The first and the last time of each series that have a value in any channel, (N, 2)."""
        seen = np.logical_or.reduce(self.mask, axis=-1)
        rows = np.arange(len(self))
        ends = (seen.argmax(axis=1), seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1))
        return np.stack([self.t[rows, end] for end in ends], axis=-1)

    def take(self, rows: slice | npt.ArrayLike) -> IrregularSeries:
        """Return some of the series, by their places or a mask; all channels are kept, even those without a value now.

        Raises
        ------
        ValueError
            If there are no such rows, none, or one twice.
        """
        try:
            places = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)]
        except IndexError as error:
            raise ValueError(f"`rows` must be places of the {len(self)} series, or a mask of them: {error}") from error
        if places.ndim != 1 or places.size == 0 or len(np.unique(places)) < places.size:
            raise ValueError(f"`rows` must name one series or more, each once, got {rows!r}")
        attrs = dict(self.attrs)
        if "statics" in attrs:
            attrs["statics"] = {name: [each[i] for i in places] for name, each in attrs["statics"].items()}
        names = tuple(self.names[i] for i in places)
        return self._replaced(t=self.t[places], y=self.y[places], names=names, attrs=attrs)

    def of_channels(self, channels: Sequence[str]) -> IrregularSeries:
        """Return the series with these channels, in this order; one that they do not have has no value.

        Raises
        ------
        DataError
            If they have none of them, or a series has no value in any.
        """
        if tuple(channels) == self.channels:
            return self
        places = {name: place for place, name in enumerate(self.channels)}
        y = np.full((*self.y.shape[:2], len(channels)), np.nan, dtype=self.y.dtype)
        units = [""] * len(channels)
        for i, name in enumerate(channels):
            if name in places:
                y[..., i], units[i] = self.y[..., places[name]], self.units[places[name]]
        if not set(channels) & set(places):
            raise DataError(f"it has the channels {quoted(self.channels)}, none of {quoted(channels)}")
        check_observed(self.t, y, channels=channels, names=self.names)
        return self._replaced(y=y, channels=tuple(channels), units=tuple(units))

    def _replaced(self, **changes: Any) -> IrregularSeries:
        """Return it with other content, of what was checked; a channel may have no value in it."""
        part = object.__new__(IrregularSeries)
        for name, value in {**vars(self), **changes}.items():
            object.__setattr__(part, name, value)
        return part

    def digest(self) -> str:
        """Return a fingerprint of times, values and channels."""
        found = hashlib.sha256("\0".join(self.channels).encode())
        for values in (self.t, self.y):
            found.update(repr((values.shape, values.dtype.newbyteorder("<").str)).encode())
            same = np.where(np.isnan(values), values.dtype.type(np.nan), values)  # NaNs come in many bit patterns
            found.update(same.astype(values.dtype.newbyteorder("<")).tobytes())
        return found.hexdigest()

    @classmethod
    def of(
        cls,
        trajectories: Trajectories,
        *,
        names: Sequence[str] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> IrregularSeries:
        """Make each trajectory a series, a component a channel; falling times are turned round.

        Parameters
        ----------
        trajectories
            What a simulator or a file gives. Its constants, states before noise and standard deviations have no place
            here, nor have trajectories without a value, which notes say.
        names
            Labels of the series; by default their numbers from 0.
        attrs
            Added to those of the trajectories.

        Raises
        ------
        DataError
            As of the constructor.
        """
        t, y, notes = of_trajectories(trajectories)
        labels = np.array(_labels(names, len(y)), dtype=object)
        empty = np.logical_and.reduce(np.isnan(y), axis=(1, 2))
        if empty.any() and not empty.all():  # simulations that failed at their start
            notes.append(
                f"left out, as they have no value: {int(empty.sum())} of {len(y)}, {labels[empty][0]!r} the first"
            )
            t, y, labels = t[~empty], y[~empty], labels[~empty]
        made = cls(
            t=t,
            y=y,
            channels=tuple(trajectories.columns),
            units=tuple(trajectories.units),
            names=tuple(labels),
            attrs={**trajectories.attrs, **(attrs or {})},
        )
        add_notes(made, notes)
        return made

    @classmethod
    def of_arrays(
        cls,
        t: npt.ArrayLike,
        y: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        channels: Sequence[str] | None = None,
        *,
        units: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> IrregularSeries:
        """Make series of arrays [sample, time, channel].

        Parameters
        ----------
        t
            Times, (K,) where all series share them, or (N, K).
        y
            Values, (N, K, C); NaN is missing.
        mask
            Where values are observed, (N, K, C), or (N, K) for all channels alike; None takes all that are not NaN.
            A row's end without values, whose times do not go on rising, is padding: its times become NaN.
        channels, units, names
            Names of the channels, by default ``y1``, ``y2``, ...; their units; labels of the series, by default their
            numbers from 0.
        attrs
            What else is to be known.

        Raises
        ------
        DataError
            If shapes do not go together, and as of the constructor.
        """
        times, values = observed_arrays(t, y, mask)
        count = values.shape[2]
        made = cls(
            t=times,
            y=values,
            channels=tuple(f"y{i}" for i in range(1, count + 1)) if channels is None else tuple(channels),
            units=("",) * count if units is None else tuple(units),
            names=_labels(names, len(values)),
            attrs=dict(attrs or {}),
        )
        add_notes(made, [])
        return made


def _labels(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count))) if names is None else tuple(names)


_WIDE = 1000.0  # how many times as long the longest span may be as the shortest
_RARE = 0.01  # of the series


def add_notes(series: IrregularSeries, lines: Sequence[str]) -> None:
    """Put lines, and then `remarks`, into ``attrs["notes"]``, each once, after those that stand there."""
    kept = series.attrs.get("notes", [])
    known = [str(line) for line in kept] if isinstance(kept, list) else [str(kept)]
    series.attrs["notes"] = list(dict.fromkeys([*known, *lines, *remarks(series)]))


def remarks(series: IrregularSeries) -> list[str]:
    """Return what may surprise: series of one point, times without values, very different spans, rare channels."""
    return [*_points(series), *_scales(series), *_channels(series)]


def _points(series: IrregularSeries) -> Iterator[str]:
    points = series.points
    single = np.flatnonzero(points == 1)
    if single.size:
        yield (
            f"series with one point only: {single.size} of {len(series)}, {_named(series, single[0])} the first; "
            "nothing can be learnt there of how they change"
        )
    empty = int((~np.isnan(series.t)).sum() - points.sum())
    if empty:
        yield f"times without a value in any channel: {empty}"


def _scales(series: IrregularSeries) -> Iterator[str]:
    spans = np.diff(series.spans, axis=1)[:, 0]
    longer = np.where(spans > 0, spans, np.inf)
    short, long = int(np.argmin(longer)), int(np.argmax(spans))
    if spans[long] / _WIDE > longer[short]:
        unit = f" {shown(str(series.attrs['time_unit']))}" if series.attrs.get("time_unit") else ""
        yield (
            f"spans of time differ by a factor {spans[long] / spans[short]:.3g}, from {spans[short]:.6g}{unit} "
            f"({_named(series, short)}) to {spans[long]:.6g}{unit} ({_named(series, long)}): "
            "times are normalised by the longest span"
        )


def _channels(series: IrregularSeries) -> Iterator[str]:
    known = series.mask
    share = known.any(axis=1).mean(axis=0)
    rare = [name for name, each in zip(series.channels, share, strict=True) if each < _RARE]
    if rare:
        yield f"channels with values in fewer than {_RARE:.0%} of the series: {quoted(rare)}"
    low = np.where(known, series.y, np.inf).min(axis=(0, 1))
    high = np.where(known, series.y, -np.inf).max(axis=(0, 1))
    constant = [name for name, same in zip(series.channels, low == high, strict=True) if same]
    if constant:
        yield f"channels with one and the same value throughout: {quoted(constant)}"


def _named(series: IrregularSeries, place: int) -> str:
    return repr(shown(series.names[place]))
