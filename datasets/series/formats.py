"""The formats of series that physode reads, told apart by what they hold, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.files import check_file, shown
from physode.datasets.hdf5_file import layout_of
from physode.datasets.series.csv_series import LABELS, read_long_csv
from physode.datasets.series.hdf5 import SERIES_FORMAT, SERIES_SCHEMA_VERSION, read_series_file, read_trajectory_file
from physode.datasets.series.physionet import HEADER, is_record, read_physionet
from physode.datasets.series.series import IrregularSeries
from physode.datasets.table import TableOptions, quoted, read_header
from physode.datasets.tables.options import flag_of
from physode.datasets.trajectory_file import FORMAT
from physode.errors import DataError

SeriesKind = Literal["csv", "hdf5", "physionet", "trajectories"]

_ACCEPTED = (
    "HDF5 of series or trajectories, a table of text with the columns series, time, channel and value, "
    "or a folder of records of PhysioNet's 2012 challenge"
)


@dataclass(frozen=True)
class Format:
    """A format of series: its kind, what users call it, whether a file or folder has it, and what reads it."""

    kind: SeriesKind
    name: str
    recognises: Callable[[Path, TableOptions], bool]
    read: Callable[[Path, Callable[[float], object] | None, TableOptions], IrregularSeries]


FORMATS = (
    Format(
        "physionet",
        "PhysioNet 2012",
        lambda path, _: path.is_dir(),
        lambda path, progress, _: read_physionet(path, progress=progress),
    ),
    Format(
        "hdf5", "HDF5", lambda path, _: layout_of(path) == SERIES_FORMAT, lambda path, _, __: read_series_file(path)
    ),
    Format(
        "trajectories",
        "HDF5 of trajectories",
        lambda path, _: layout_of(path) == FORMAT,
        lambda path, _, __: read_trajectory_file(path),
    ),
    Format(
        "csv",
        "CSV",
        lambda path, options: bool(LABELS & _header(path, options)),
        lambda path, _, options: read_long_csv(path, options),
    ),
)
"""The first that recognises a file or folder reads it."""


def read_series(
    path: str | os.PathLike[str],
    *,
    progress: Callable[[float], object] | None = None,
    options: TableOptions | None = None,
) -> IrregularSeries:
    """Read irregular series.

    Parameters
    ----------
    path
        A file or folder, see ``docs/data.md``.
    progress
        Told the finished fraction of reading a folder.
    options
        What is known of how a table is written.

    Returns
    -------
    IrregularSeries
        ``attrs`` hold ``name``, ``source`` and ``notes``: what was left out or may surprise.

    Raises
    ------
    DataError
        If there are no series in it, or none that can be read, or options have no part in it; the message names the
        file, and where in it.
    """
    source, options = Path(path), options or TableOptions()
    return _format_of(source, options).read(source, progress, options)


def kind_of_series(path: str | os.PathLike[str]) -> SeriesKind:
    """Return what a file or folder is.

    Raises
    ------
    DataError
        If it is nothing that series are read from.
    """
    return _format_of(Path(path), TableOptions()).kind


def holds_series(path: str | os.PathLike[str], options: TableOptions | None = None) -> bool:
    """Whether a folder or file is of series and of nothing else: trajectories are not."""
    source = Path(path)
    return source.is_dir() or layout_of(source) == SERIES_FORMAT or _header(source, options or TableOptions()) >= LABELS


def _format_of(path: Path, options: TableOptions) -> Format:
    if not path.is_dir():
        check_file(path)
    found = next((each for each in FORMATS if each.recognises(path, options)), None)
    if found is None:
        raise DataError(_refusal(path, options))
    if options.given and found.kind != "csv":
        flag = flag_of(next(iter(options.given)))
        raise DataError(f"{path} is {found.name}, in which {flag} has no part; leave it out")
    return found


def _header(path: Path, options: TableOptions) -> frozenset[str]:
    """Return the names of a table's columns; none where it is no table."""
    try:
        return frozenset(read_header(path, words=LABELS, options=options))
    except DataError:  # its readers say how
        return frozenset()


def _refusal(path: Path, options: TableOptions) -> str:
    layout = layout_of(path)
    if layout is not None or h5py.is_hdf5(path):
        what = "something else, or damaged" if layout is None else shown(layout)
        return f"{path} is HDF5 of {what}; series are read from {_ACCEPTED}"
    try:
        names = read_header(path, words=LABELS, options=options)
    except DataError as error:
        return f"{path} is no table of text: {error}; series are read from {_ACCEPTED}"
    if ",".join(names) == HEADER:
        return f"{path} is one record of PhysioNet's 2012 challenge; name its folder"
    return f"{path} is a table with the columns {quoted(names)}; series are read from {_ACCEPTED}"


def summarise_series(path: str | os.PathLike[str], *, options: TableOptions | None = None) -> dict[str, Any]:
    """Describe series, reading every number of them; `options` as of `read_series`.

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
    source, options = Path(path), options or TableOptions()
    found = _format_of(source, options)
    series = found.read(source, None, options)
    attributes = dict(series.attrs)
    points, spans = series.points, series.spans
    length = np.diff(spans, axis=1)
    return {
        "path": os.fspath(path),
        "bytes": _bytes(source),
        "format": found.name,
        "schema_version": SERIES_SCHEMA_VERSION if found.kind == "hdf5" else None,
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
