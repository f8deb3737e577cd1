"""Trajectory files, HDF5 of the layout ``physode-trajectories``: written and read.

``docs/data.md`` describes the layout for readers without physode. Change it only together with `SCHEMA_VERSION`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.atomic_write import replacing
from physode.datasets.hdf5_attributes import attribute_value, decode_attributes, encode_attributes, words_of
from physode.datasets.hdf5_file import (
    check_total,
    filling_hdf5,
    find_dataset,
    floating,
    group_names,
    holds,
    open_hdf5,
    put_dataset,
    put_header,
    values_of,
)
from physode.datasets.provenance import provenance
from physode.datasets.trajectories import Array, Trajectories, check_shapes

FORMAT = "physode-trajectories"
SCHEMA_VERSION = 1

AXES = {
    "t": ("trajectory", "time"),
    "y": ("trajectory", "time", "component"),
    "y_clean": ("trajectory", "time", "component"),
    "sigma": ("trajectory", "time", "component"),
    "params": ("trajectory",),
}

DESCRIPTIONS = {
    "t": "times of the observations",
    "y": "states as observed",
    "y_clean": "states before observation noise",
    "sigma": "standard deviations of the states as observed",
    "params": "true constant of each trajectory",
}


def write_trajectories(
    path: str | os.PathLike[str],
    trajectories: Trajectories,
    *,
    overwrite: bool = False,
    compression: Literal["gzip"] | None = None,
) -> None:
    """Write a trajectory file; it appears under its name when it is whole, or not at all.

    What `physode.datasets.provenance` knows (versions, git revision, time, command line) is stored beside the
    attributes of `trajectories`, which win where they have the same name. Every number is checksummed.

    Parameters
    ----------
    path
        The file, by habit ``*.h5``.
    trajectories
        What to write.
    overwrite
        Whether to replace a file that exists.
    compression
        ``"gzip"`` for smaller files that are slower to read and write.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is False, its folder does not exist, or an attribute cannot be stored.
    OSError
        If the disk is full or the folder cannot be written to.
    """
    with replacing(path, overwrite=overwrite) as part:
        fill_trajectories(part, trajectories, compression=compression)


def fill_trajectories(part: Path, trajectories: Trajectories, *, compression: Literal["gzip"] | None = None) -> None:
    """Write trajectories into a part that was claimed before (:func:`physode.datasets.atomic_write.replacing`)."""
    if compression not in (None, "gzip"):
        raise ValueError(f"`compression` must be None or 'gzip', got {compression!r}")
    attrs = dict(trajectories.attrs)
    time_unit = attrs.pop("time_unit", "")
    param_units = attrs.pop("param_units", {})
    param_descriptions = attrs.pop("param_descriptions", {})
    encoded = encode_attributes({**provenance(), **attrs})

    def put(name: str, values: Array, **about: Any) -> None:
        put_dataset(file, name, values, compression=compression, **about)

    with filling_hdf5(part) as file:
        put_header(file, FORMAT, SCHEMA_VERSION, encoded)
        axes = AXES["t"][-trajectories.t.ndim :]
        put("t", trajectories.t, units=time_unit, description=DESCRIPTIONS["t"], axes=axes)
        columns, units = trajectories.columns, trajectories.units
        for name in ("y", "y_clean", "sigma"):
            states = getattr(trajectories, name)
            if states is not None:
                put(name, states, columns=columns, units=units, description=DESCRIPTIONS[name], axes=AXES[name])
        for name, values in trajectories.params.items():
            unit, description = param_units.get(name, ""), param_descriptions.get(name, DESCRIPTIONS["params"])
            put(f"params/{name}", values, units=unit, description=description, axes=AXES["params"])


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
        params={name: find_dataset(file, name, group="params") for name in group_names(file, "params")},
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
    time_unit = attribute_value(file["t"].attrs.get("units", ""))
    if time_unit:
        found["time_unit"] = time_unit
    for key, attribute, default in (
        ("param_units", "units", ""),
        ("param_descriptions", "description", DESCRIPTIONS["params"]),
    ):
        labels = {
            name: attribute_value(file["params"][name].attrs.get(attribute, default))
            for name in group_names(file, "params")
        }
        told = {name: label for name, label in labels.items() if label != default}
        if told:
            found[key] = told
    return found
