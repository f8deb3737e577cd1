"""Trajectories into HDF5 while they are being solved: slab after slab of times, none kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.atomic import replacing
from physode.datasets.provenance import provenance
from physode.datasets.schema import (
    AXES,
    DESCRIPTIONS,
    FORMAT,
    RESERVED,
    SCHEMA_VERSION,
    chunk_shape,
    encode_attributes,
    fixed_text,
)
from physode.datasets.trajectories import Array, check_shapes, check_times
from physode.datasets.writing import LIBVER, put_dataset
from physode.errors import DataError

__all__ = ["TrajectoryStream", "streaming"]

_SLAB_BYTES = 1 << 20
_FLUSH_BYTES = 1 << 20
_CACHE_BYTES = 1 << 24  # of chunks that are written a part at a time


class TrajectoryStream:
    """The states of a trajectory file that is being written.

    Attributes
    ----------
    slab
        How many times are best written at once: those of a chunk.
    attrs
        Attributes of the file that are known when all is written only.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._y = dataset
        self._unseen = 0
        self._samples, self.slab = dataset.chunks[:2]
        counts = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
        self._touched = np.zeros(counts[:2], dtype=bool)
        self.attrs: dict[str, Any] = {}

    def put(self, samples: slice, times: slice, values: Array) -> None:
        """Write states of successive trajectories, (samples, times, components), at successive times."""
        self._y[samples, times] = values
        rows, columns = (
            slice(part.start // size, -(-part.stop // size))
            for part, size in ((samples, self._samples), (times, self.slab))
        )
        self._touched[rows, columns] = True
        self._unseen += values.nbytes
        if self._unseen >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let those see what was written who read along, or come after a killed process."""
        self._y.flush()
        self._unseen = 0

    def fill(self) -> None:
        """Write NaN into chunks that nothing was written into: else their absence would look like damage."""
        for row, column in np.argwhere(~self._touched):
            rows = slice(row * self._samples, (row + 1) * self._samples)
            self._y[rows, column * self.slab : (column + 1) * self.slab] = np.nan


@contextmanager
def streaming(
    path: str | os.PathLike[str],
    t: Array,
    shape: tuple[int, int, int],
    *,
    dtype: Literal["float32", "float64"] = "float64",
    slab_bytes: int = _SLAB_BYTES,
    columns: Sequence[str] = (),
    units: Sequence[str] = (),
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    compression: Literal["gzip"] | None = None,
) -> Iterator[TrajectoryStream]:
    """Write a trajectory file whose states come a few at a time.

    The file has a temporary name, ``.<name>.<random>.part``, until the block ends; if it raises, the file is removed.
    A file that is being written, or that a killed process left, can be read up to the last flush by
    ``h5py.File(part, "r", swmr=True)``. States that are never written are NaN.

    Parameters
    ----------
    path
        The file, by habit ``*.h5``.
    t
        Times, float64, (T,) or (N, T).
    shape
        Numbers of trajectories, times and components, (N, T, D).
    dtype
        The states' precision.
    slab_bytes
        How many bytes of states, of all trajectories, are best written at once.
    columns, units, attrs
        As of :class:`~physode.datasets.Trajectories`; by default columns are ``y1``, ``y2``, ...
    overwrite
        Whether to replace a file that exists.
    compression
        ``"gzip"`` for smaller files that are slower to write.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is False, its folder does not exist or cannot be written to, names or times
        do not fit, or an attribute cannot be stored.
    OSError
        If the disk is full.
    """
    if compression not in (None, "gzip"):
        raise ValueError(f"`compression` must be None or 'gzip', got {compression!r}")
    names = tuple(columns) or tuple(f"y{i}" for i in range(1, shape[2] + 1))
    labels = tuple(units) or ("",) * shape[2]
    check_shapes(t=t.shape, y=shape, y_clean=None, sigma=None, params={}, columns=names, units=labels)
    check_times(t)
    given = dict(attrs or {})
    time_unit = given.pop("time_unit", "")
    encoded = encode_attributes({**provenance(), **given})
    with replacing(path, overwrite=overwrite) as part:
        with _created(part, path) as file:
            file.attrs.update({"format": fixed_text(FORMAT), "schema_version": SCHEMA_VERSION, **encoded})
            put_dataset(file, "t", t, units=time_unit, description=DESCRIPTIONS["t"], axes=AXES["t"][-t.ndim :])
            about: dict[str, str | tuple[str, ...]] = {
                "columns": names,
                "units": labels,
                "description": DESCRIPTIONS["y"],
                "axes": AXES["y"],
            }
            slab = min(shape[1], max(1, slab_bytes // (shape[0] * shape[2] * np.dtype(dtype).itemsize)))
            stream = TrajectoryStream(_states(file, shape, slab, dtype, compression, about))
            file.swmr_mode = True
            yield stream
            stream.fill()
        _add(part, stream.attrs)


def _created(part: Path, path: str | os.PathLike[str]) -> h5py.File:
    try:
        return h5py.File(part, "x", libver=LIBVER, rdcc_nbytes=_CACHE_BYTES)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise DataError(f"cannot write {os.fspath(path)}: {reason}; choose another folder") from error


def _states(
    file: h5py.File,
    shape: tuple[int, int, int],
    slab: int,
    dtype: str,
    compression: str | None,
    about: Mapping[str, str | tuple[str, ...]],
) -> h5py.Dataset:
    """Create the dataset of states, its chunks those of a slab of times."""
    chunks = chunk_shape((shape[0], slab, shape[2]), np.dtype(dtype).itemsize)
    options = {"chunks": chunks, "compression": compression, "fletcher32": True, "fillvalue": np.nan}
    dataset = file.create_dataset("y", shape, dtype=dtype, **options)
    for key, value in about.items():
        dataset.attrs[key] = fixed_text(value)
    return dataset


def _add(path: Path, attrs: Mapping[str, Any]) -> None:
    """Add attributes, numbers and text, to a file that is no longer being read along."""
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for name, value in encode_attributes(attrs).items():
            if name not in RESERVED:
                if name in file.attrs:
                    raise DataError(f"`attrs[{name!r}]` is a name that is written at the end; choose another")
                file.attrs[name] = value
