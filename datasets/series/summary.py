"""What is in a set of series."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from physode.datasets.series.hdf5 import SERIES_SCHEMA_VERSION
from physode.datasets.series.physionet import is_record
from physode.datasets.series.reading import kind_of_series, read_series
from physode.datasets.series.series import IrregularSeries

__all__ = ["summarise_series"]

_FORMATS = {"csv": "CSV", "hdf5": "HDF5", "physionet": "PhysioNet 2012", "trajectories": "HDF5 of trajectories"}


def summarise_series(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe series, reading every number of them.

    Returns
    -------
    dict
        ``path``, ``bytes``, ``format``, ``schema_version`` (None where it is not HDF5 of series), ``series`` (their
        number), ``points`` (``min``, ``median``, ``max`` of times with a value), ``time`` (``first``, ``last``,
        ``shortest``, ``longest``, ``unit``), ``channels`` (a list of ``name``, ``unit``, ``observed``, the share of
        times at which it has a value, ``min``, ``max``), ``digest``, ``notes`` and ``attributes``.

    Raises
    ------
    DataError
        As `read_series`.
    """
    source, kind = Path(path), kind_of_series(path)
    series = read_series(source)
    attributes = dict(series.attrs)
    points, spans = series.points, series.spans
    length = np.diff(spans, axis=1)
    return {
        "path": os.fspath(path),
        "bytes": _bytes(source),
        "format": _FORMATS[kind],
        "schema_version": SERIES_SCHEMA_VERSION if kind == "hdf5" else None,
        "series": len(series),
        "points": {"min": int(points.min()), "median": float(np.median(points)), "max": int(points.max())},
        "time": {
            "first": float(spans.min()),
            "last": float(spans.max()),
            "shortest": float(length.min()),
            "longest": float(length.max()),
            "unit": attributes.pop("time_unit", ""),
        },
        "channels": _channels(series),
        "digest": series.digest(),
        "notes": attributes.pop("notes"),
        "attributes": attributes,
    }


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.iterdir() if is_record(each.name))


def _channels(series: IrregularSeries) -> list[dict[str, Any]]:
    known = series.mask
    share = known.sum(axis=(0, 1)) / (~np.isnan(series.t)).sum()
    low = np.where(known, series.y, np.inf).min(axis=(0, 1))
    high = np.where(known, series.y, -np.inf).max(axis=(0, 1))
    return [
        {
            "name": name,
            "unit": series.units[i],
            "observed": float(share[i]),
            "min": float(low[i]),
            "max": float(high[i]),
        }
        for i, name in enumerate(series.channels)
    ]
