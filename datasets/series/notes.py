"""What is worth saying of series before they are learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from physode.datasets.files import shown
from physode.datasets.table import quoted

if TYPE_CHECKING:
    from physode.datasets.series.series import IrregularSeries

__all__ = ["add_notes", "remarks"]

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
