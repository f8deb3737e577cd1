"""The formats of series that physode reads, told apart by what they hold, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.files import check_file, shown
from physode.datasets.hdf5_file import layout_of
from physode.datasets.series.hdf5 import SERIES_FORMAT, SERIES_SCHEMA_VERSION, read_series_file, read_trajectory_file
from physode.datasets.series.physionet import HEADER, is_record, read_physionet
from physode.datasets.series.series import IrregularSeries
from physode.datasets.series.tables import read_table_of_series
from physode.datasets.table import TableOptions, read_header
from physode.datasets.tables.frames import is_frame
from physode.datasets.tables.options import flag_of
from physode.datasets.tables.sources import is_matlab
from physode.datasets.trajectory_file import FORMAT
from physode.errors import DataError

LONG = frozenset({"channel", "value"})
"""Columns that a long table of series is known by."""

SeriesKind = Literal["csv", "hdf5", "physionet", "trajectories"]

_ACCEPTED = (
    "HDF5 of series or trajectories, a table with a column of times and one a channel, or with the columns series, "
    "time, channel and value, or a folder of records of PhysioNet's 2012 challenge"
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
        lambda path, options: _names(path, options) not in (None, HEADER),
        lambda path, _, options: read_table_of_series(path, options),
    ),
)
"""The first that recognises a file or folder reads it."""


def read_series(
    path: str | os.PathLike[str] | Any,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    static: Sequence[str] | None = None,
    progress: Callable[[float], object] | None = None,
    options: TableOptions | None = None,
) -> IrregularSeries:
    """Read irregular series.

    Parameters
    ----------
    path
        A file or folder, see ``docs/data.md``; or a table in memory, a pandas DataFrame or a mapping of names to
        columns.
    columns
        What the columns of a table are, where they are not called so: names by ``"series"``, ``"time"``, ``"channel"``
        and ``"value"``; of values several, where each is a channel.
    static
        Columns of a table that say one thing of each series, kept in ``attrs["statics"]``.
    progress
        Told the finished fraction of reading a folder.
    options
        What else is known of how a table is written.

    Returns
    -------
    IrregularSeries
        ``attrs`` hold ``name``, ``source`` and ``notes``: what was left out or may surprise.

    Raises
    ------
    DataError
        If there are no series in it, or none that can be read, or options have no part in it; the message names the
        file, and where in it.
    ConfigError
        If `columns` or `static` cannot be.

    Examples
    --------
    >>> from physode.datasets.series import read_series
    >>> table = {"who": ["a", "a", "b", "b"], "t": [0, 1, 0, 2], "x": [1.0, 2.0, 3.0, 4.0]}
    >>> series = read_series(table, columns={"series": "who"})
    >>> series.names, series.channels
    (('a', 'b'), ('x',))
    """
    options = with_roles(options or TableOptions(), columns, static)
    if is_frame(path):
        return read_table_of_series(path, options)
    source = Path(path)
    return _format_of(source, options).read(source, progress, options)


def with_roles(
    options: TableOptions, columns: Mapping[str, str | Sequence[str]] | None, static: Sequence[str] | None
) -> TableOptions:
    """Return options that say what columns are."""
    said: dict[str, Any] = {"columns": columns, "static": static}
    return replace(options, **{name: value for name, value in said.items() if value is not None})


def kind_of_series(path: str | os.PathLike[str]) -> SeriesKind:
    """Return what a file or folder is.

    Raises
    ------
    DataError
        If it is nothing that series are read from.
    """
    return _format_of(Path(path), TableOptions()).kind


def holds_series(path: str | os.PathLike[str], options: TableOptions | None = None) -> bool:
    """Whether a folder or file is of series and of nothing else: trajectories are not.

    A table is if its columns are said to be ``series`` or ``channel``, or called so.
    """
    source, options = Path(path), options or TableOptions()
    if source.is_dir() or layout_of(source) == SERIES_FORMAT:
        return True
    said = {*(options.columns or {})}
    names = {*(_names(source, options) or "").casefold().split(",")}
    return bool(options.static) or bool(said & {"series", "channel"}) or "series" in names or names >= LONG


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


def _names(path: Path, options: TableOptions) -> str | None:
    """Return the names of a table's columns with commas between them; None where it is no table."""
    if h5py.is_hdf5(path) and not is_matlab(path):
        return None
    try:
        return ",".join(read_header(path, options=options, unnamed=True))
    except DataError:  # its readers say how
        return None


def _refusal(path: Path, options: TableOptions) -> str:
    layout = layout_of(path)
    if layout is not None or h5py.is_hdf5(path):
        what = "something else, or damaged" if layout is None else shown(layout)
        return f"{path} is HDF5 of {what}; series are read from {_ACCEPTED}"
    try:
        read_header(path, options=options, unnamed=True)
    except DataError as error:
        return f"{path} is no table of text: {error}; series are read from {_ACCEPTED}"
    return f"{path} is one record of PhysioNet's 2012 challenge; name its folder"


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
