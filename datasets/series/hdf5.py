"""Irregular series in HDF5: the layout ``physode-series``, written whole, and read trusting nothing in a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from physode.datasets.atomic_write import replacing
from physode.datasets.hdf5_attributes import attribute_value, decode_attributes, encode_attributes, words_of
from physode.datasets.hdf5_file import (
    check_total,
    filling_hdf5,
    find_dataset,
    floating,
    open_hdf5,
    put_dataset,
    put_header,
    values_of,
)
from physode.datasets.provenance import provenance
from physode.datasets.series.arrays import check_series
from physode.datasets.series.series import IrregularSeries, add_notes
from physode.datasets.trajectory_file import read_trajectories
from physode.errors import DataError

SERIES_FORMAT = "physode-series"
SERIES_SCHEMA_VERSION = 1

_DESCRIPTIONS = {
    "t": "times of each series, NaN behind the last one",
    "y": "values, NaN where one is missing",
}


def write_series(path: str | os.PathLike[str], series: IrregularSeries, *, overwrite: bool = False) -> None:
    """Write series; the file appears under its name when it is whole, or not at all.

    ``docs/data.md`` describes the layout. What `physode.datasets.provenance` knows is stored beside the attributes of
    `series`, which win where they have the same name. Every number is checksummed, and compressed without loss.

    Parameters
    ----------
    path
        The file, by habit ``*.h5``.
    series
        What to write.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    DataError
        If a channel has no value in any of these series, the file exists and `overwrite` is False, its folder does not
        exist, or an attribute cannot be stored.
    OSError
        If the disk is full or the folder cannot be written to.
    """
    check_series(**vars(series))
    attrs = dict(series.attrs)
    time_unit = str(attrs.pop("time_unit", ""))
    encoded = encode_attributes({**provenance(), **attrs})
    with replacing(path, overwrite=overwrite) as part, filling_hdf5(part) as file:
        put_header(file, SERIES_FORMAT, SERIES_SCHEMA_VERSION, encoded)
        put_dataset(
            file,
            "t",
            series.t,
            compression="gzip",
            units=time_unit,
            names=series.names,
            description=_DESCRIPTIONS["t"],
            axes=("series", "time"),
        )
        put_dataset(
            file,
            "y",
            series.y,
            compression="gzip",
            units=series.units,
            channels=series.channels,
            description=_DESCRIPTIONS["y"],
            axes=("series", "time", "channel"),
        )


def read_series_file(path: str | os.PathLike[str]) -> IrregularSeries:
    """Read a file of series; without names, series are numbered from 0, and channels called ``y1``, ``y2``, ...

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, of another layout or version, if a dataset is missing or does not hold
        what a series must, or if it declares more numbers than the file can hold.
    """
    with open_hdf5(path, layout=SERIES_FORMAT, version=SERIES_SCHEMA_VERSION, holding="series") as file:
        t, y = find_dataset(file, "t"), find_dataset(file, "y")
        check_total(file, [t, y])
        if y.ndim != 3 or t.shape != y.shape[:2] or 0 in y.shape:
            raise DataError(f"/t and /y must be (N, K) and (N, K, C), they are {t.shape} and {y.shape}")
        count, _, channels = y.shape
        attrs = decode_attributes(file.attrs)
        time_unit = attribute_value(t.attrs.get("units", ""))
        found = IrregularSeries(
            t=values_of(t).astype(np.float64, copy=False),
            y=floating(values_of(y)),
            channels=words_of(y.attrs.get("channels", [f"y{i}" for i in range(1, channels + 1)])),
            units=words_of(y.attrs.get("units", [""] * channels)),
            names=words_of(t.attrs.get("names", [str(i) for i in range(count)])),
            attrs={**attrs, **({"time_unit": time_unit} if time_unit else {})},
        )
        add_notes(found, [])
    return _with_origin(found, Path(path))


def read_trajectory_file(path: Path) -> IrregularSeries:
    """Read a file of trajectories, each as a series.

    Raises
    ------
    DataError
        As `physode.datasets.read_trajectories` and `IrregularSeries.of`.
    """
    trajectories = read_trajectories(path)
    try:
        found = IrregularSeries.of(trajectories)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return _with_origin(found, path)


def _with_origin(series: IrregularSeries, path: Path) -> IrregularSeries:
    series.attrs.setdefault("name", path.stem)
    series.attrs.setdefault("source", path.name)
    return series
