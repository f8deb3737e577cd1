"""Trajectories into HDF5."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import h5py

from physode.datasets.atomic import replacing
from physode.datasets.hdf5 import filling_hdf5
from physode.datasets.provenance import provenance
from physode.datasets.schema import (
    AXES,
    DESCRIPTIONS,
    FORMAT,
    SCHEMA_VERSION,
    chunk_shape,
    encode_attributes,
    fixed_text,
)
from physode.datasets.trajectories import Array, Trajectories

__all__ = ["fill_trajectories", "put_dataset", "write_trajectories"]


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
    """Write trajectories into a part that was claimed before (:func:`physode.datasets.atomic.replacing`)."""
    if compression not in (None, "gzip"):
        raise ValueError(f"`compression` must be None or 'gzip', got {compression!r}")
    attrs = dict(trajectories.attrs)
    time_unit = attrs.pop("time_unit", "")
    param_units = attrs.pop("param_units", {})
    param_descriptions = attrs.pop("param_descriptions", {})
    encoded = encode_attributes({**provenance(), **attrs})

    def put(name: str, values: Array, **about: str | tuple[str, ...]) -> None:
        put_dataset(file, name, values, compression=compression, **about)

    with filling_hdf5(part) as file:
        file.attrs.update({"format": fixed_text(FORMAT), "schema_version": SCHEMA_VERSION, **encoded})
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


def put_dataset(
    file: h5py.File,
    name: str,
    values: Array,
    *,
    compression: Literal["gzip"] | None = None,
    **about: str | tuple[str, ...],
) -> None:
    """Write one dataset in chunks with checksums, and what is said about it as its attributes."""
    chunks = chunk_shape(values.shape, values.itemsize)
    dataset = file.create_dataset(name, data=values, chunks=chunks, compression=compression, fletcher32=True)
    for key, value in about.items():
        dataset.attrs[key] = fixed_text(value)
