"""Irregular time series: long CSV, HDF5 and folders of PhysioNet's 2012 challenge, described in ``docs/data.md``."""

from __future__ import annotations

from physode.datasets.series.formats import SeriesKind, holds_series, kind_of_series, read_series, summarise_series
from physode.datasets.series.hdf5 import SERIES_SCHEMA_VERSION, write_series
from physode.datasets.series.series import IrregularSeries

__all__ = [
    "SERIES_SCHEMA_VERSION",
    "IrregularSeries",
    "SeriesKind",
    "holds_series",
    "kind_of_series",
    "read_series",
    "summarise_series",
    "write_series",
]
