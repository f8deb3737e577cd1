"""HDF5 into trajectories, trusting nothing that the file says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.files import check_file
from physode.datasets.schema import DESCRIPTIONS, FORMAT, SCHEMA_VERSION, decode_attributes, plain
from physode.datasets.trajectories import Array, Trajectories, check_shapes
from physode.errors import DataError

__all__ = ["Layout", "open_trajectories", "read_attributes", "read_layout", "read_times", "read_trajectories"]

# Deflate, the strongest of HDF5's own filters, packs at most 1032 bytes into one.
_MOST_COMPRESSED = 1032
_SAME_SIZE_FILTERS = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


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
            y=_floating(_values(layout.y)),
            y_clean=None if layout.y_clean is None else _floating(_values(layout.y_clean)),
            params={name: _values(dataset) for name, dataset in layout.params.items()},
            columns=layout.columns,
            units=layout.units,
            attrs=read_attributes(file),
            sigma=None if layout.sigma is None else _floating(_values(layout.sigma)),
        )


@contextmanager
def open_trajectories(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a trajectory file to read parts of it; what goes wrong in the block raises `DataError` naming the file."""
    check_file(Path(path))
    if not h5py.is_hdf5(path):
        raise DataError(f"{os.fspath(path)} is not an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            _check_schema(file)
            yield file
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}") from error
    except PermissionError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        # The types through which h5py reports what the HDF5 library makes of damaged bytes.
        raise DataError(f"{os.fspath(path)} is damaged or incomplete, make it again: {error}") from error


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
    y = _find_numbers(file, "y")
    components = y.shape[-1] if y.shape else 0
    layout = Layout(
        t=_find_numbers(file, "t"),
        y=y,
        y_clean=_find_numbers(file, "y_clean") if _holds(file, "y_clean") else None,
        sigma=_find_numbers(file, "sigma") if _holds(file, "sigma") else None,
        params={name: _find_numbers(file, f"params/{name}") for name in _param_names(file)},
        columns=_words(y.attrs.get("columns", [f"y{i}" for i in range(1, components + 1)])),
        units=_words(y.attrs.get("units", [""] * components)),
    )
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
    return _values(_find_numbers(file, "t")).astype(np.float64, copy=False)


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


def _find_numbers(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of numbers that are all in this file."""
    dataset = file[name] if name.startswith("params/") or _holds(file, name) else None
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"it has no dataset /{name}; see docs/data.md for the layout")
    if dataset.dtype.kind not in "fiub":
        raise DataError(f"/{name} must hold numbers, it holds {dataset.dtype}")
    if dataset.is_virtual or dataset.external:
        raise DataError(f"/{name} is stored in other files; copy its numbers into this one")
    _check_size(file, dataset, name)
    return dataset


def _check_schema(file: h5py.File) -> None:
    if plain(file.attrs.get("format")) != FORMAT:
        raise DataError(f"it is an HDF5 file, but not one of trajectories: its attribute `format` is not {FORMAT!r}")
    version = plain(file.attrs.get("schema_version"))
    if version != SCHEMA_VERSION:
        raise DataError(
            f"its schema_version is {version!r}, this physode reads {SCHEMA_VERSION}; make it again, or update physode"
        )


def _check_size(file: h5py.File, dataset: h5py.Dataset, name: str) -> None:
    """Refuse a dataset that declares more than was ever written, before memory is set aside for it."""
    pipeline = dataset.id.get_create_plist()
    filters = {pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())}
    ratio = 1 if filters <= _SAME_SIZE_FILTERS else _MOST_COMPRESSED
    stored = min(dataset.id.get_storage_size(), file.id.get_filesize())
    if dataset.nbytes > ratio * stored:
        raise DataError(
            f"/{name} declares the shape {dataset.shape}, {dataset.nbytes} bytes, but {stored} are stored; "
            "the file is incomplete or damaged, make it again"
        )


def _param_names(file: h5py.File) -> list[str]:
    if not _holds(file, "params"):
        return []
    group = file["params"]
    if not isinstance(group, h5py.Group):
        raise DataError("/params must be a group of datasets")
    return list(group)


def _holds(file: h5py.File, name: str) -> bool:
    """Whether the file lists a name; unlike `in`, no less so where what is behind the name is damaged."""
    return name in list(file)


def _values(dataset: h5py.Dataset) -> Array:
    """All of a dataset, in this machine's byte order."""
    return np.asarray(dataset[()], dtype=dataset.dtype.newbyteorder("="))


def _floating(values: Array) -> Array:
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in plain(np.atleast_1d(value)))
