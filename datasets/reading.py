"""HDF5 into trajectories, trusting nothing that the file says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from physode.datasets.opening import check_total, find_dataset, holds, open_hdf5
from physode.datasets.schema import DESCRIPTIONS, FORMAT, SCHEMA_VERSION, decode_attributes, plain
from physode.datasets.trajectories import Array, Trajectories, check_shapes
from physode.errors import DataError

__all__ = [
    "Layout",
    "floating",
    "open_trajectories",
    "read_attributes",
    "read_layout",
    "read_times",
    "read_trajectories",
    "values_of",
    "words_of",
]


def read_trajectories(path: str | os.PathLike[str]) -> Trajectories:
    """Read a trajectory file.

    Returns
    -------
    Trajectories
        With the file's attributes as `attrs`; see `read_attributes`.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, of another kind or of another schema version, if a dataset is missing,
        not numeric, or of a shape that does not fit the others, or if it declares more numbers than the file can hold.
    """
    with open_trajectories(path) as file:
        layout = read_layout(file)
        return Trajectories(
            t=read_times(file),
            y=floating(values_of(layout.y)),
            y_clean=None if layout.y_clean is None else floating(values_of(layout.y_clean)),
            params={name: values_of(dataset) for name, dataset in layout.params.items()},
            columns=layout.columns,
            units=layout.units,
            attrs=read_attributes(file),
            sigma=None if layout.sigma is None else floating(values_of(layout.sigma)),
        )


@contextmanager
def open_trajectories(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a trajectory file to read parts of it; what goes wrong in the block raises `DataError` naming the file."""
    with open_hdf5(path, layout=FORMAT, version=SCHEMA_VERSION, holding="trajectories") as file:
        yield file


@dataclass(frozen=True)
class Layout:
    """The datasets of an open file, found to go together, not yet read."""

    t: h5py.Dataset
    y: h5py.Dataset
    y_clean: h5py.Dataset | None
    sigma: h5py.Dataset | None
    params: dict[str, h5py.Dataset]
    columns: tuple[str, ...]
    units: tuple[str, ...]


def read_layout(file: h5py.File) -> Layout:
    """Find a file's datasets and check their types, sizes and shapes before memory is set aside for them."""
    y = find_dataset(file, "y")
    components = y.shape[-1] if y.shape else 0
    layout = Layout(
        t=find_dataset(file, "t"),
        y=y,
        y_clean=find_dataset(file, "y_clean") if holds(file, "y_clean") else None,
        sigma=find_dataset(file, "sigma") if holds(file, "sigma") else None,
        params={name: find_dataset(file, name, group="params") for name in _param_names(file)},
        columns=words_of(y.attrs.get("columns", [f"y{i}" for i in range(1, components + 1)])),
        units=words_of(y.attrs.get("units", [""] * components)),
    )
    datasets = (layout.t, layout.y, layout.y_clean, layout.sigma, *layout.params.values())
    check_total(file, [each for each in datasets if each is not None])
    check_shapes(
        t=layout.t.shape,
        y=y.shape,
        y_clean=None if layout.y_clean is None else layout.y_clean.shape,
        sigma=None if layout.sigma is None else layout.sigma.shape,
        params={name: dataset.shape for name, dataset in layout.params.items()},
        columns=layout.columns,
        units=layout.units,
    )
    return layout


def read_times(file: h5py.File) -> Array:
    """A file's times, (T,) or (N, T), float64."""
    return values_of(find_dataset(file, "t")).astype(np.float64, copy=False)


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """A file's attributes, and what stands at its datasets: ``time_unit``, ``param_units``, ``param_descriptions``."""
    found = decode_attributes(file.attrs)
    time_unit = plain(file["t"].attrs.get("units", ""))
    if time_unit:
        found["time_unit"] = time_unit
    for key, attribute, default in (
        ("param_units", "units", ""),
        ("param_descriptions", "description", DESCRIPTIONS["params"]),
    ):
        labels = {name: plain(file["params"][name].attrs.get(attribute, default)) for name in _param_names(file)}
        told = {name: label for name, label in labels.items() if label != default}
        if told:
            found[key] = told
    return found


def _param_names(file: h5py.File) -> list[str]:
    if not holds(file, "params"):
        return []
    group = file["params"]
    if not isinstance(group, h5py.Group):
        raise DataError("/params must be a group of datasets")
    return list(group)


def values_of(dataset: h5py.Dataset) -> Array:
    """All of a dataset, in this machine's byte order."""
    return np.asarray(dataset[()], dtype=dataset.dtype.newbyteorder("="))


def floating(values: Array) -> Array:
    """Whole numbers and truth values as float64, others as they are."""
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def words_of(value: Any) -> tuple[str, ...]:
    """An attribute as words, however many it holds."""
    return tuple(str(word) for word in plain(np.atleast_1d(value)))
