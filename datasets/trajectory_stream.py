"""Trajectories into HDF5 while they are being solved: slab after slab of times, none kept in memory."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.atomic_write import replacing
from physode.datasets.files import check_output
from physode.datasets.hdf5_attributes import RESERVED, encode_attributes, fixed_text
from physode.datasets.hdf5_file import LIBVER, chunk_shape, put_dataset, put_header
from physode.datasets.locks import lent, new_part
from physode.datasets.provenance import provenance
from physode.datasets.trajectories import Array, check_shapes, check_times
from physode.datasets.trajectory_file import AXES, DESCRIPTIONS, FORMAT, SCHEMA_VERSION
from physode.errors import DataError

_About = Mapping[str, str | tuple[str, ...]]

_SLAB_BYTES = 1 << 20
_FLUSH_BYTES = 1 << 20
_CACHE_BYTES = 1 << 24  # of chunks that are written a part at a time
_MARGIN = 1 << 14  # of HDF5's own structures
_INDEX_BYTES = 40  # of a chunk in HDF5's index


class TrajectoryStream:
    """The states of a trajectory file that is being written.

    Every write has its room on the disk before HDF5 is given it: a library that does not survive a failed write.

    Attributes
    ----------
    slab
        How many times are best written at once: those of a chunk.
    attrs
        Attributes of the file that are known when all is written only.
    begun, whole
        Whether any states were written, and whether all that the file is to hold was.
    failure
        Why no more could be written; None as long as all is well.
    """

    def __init__(self, dataset: h5py.Dataset, room: Room) -> None:
        self._y, self._file, self._room = dataset, dataset.file, room
        self._unseen = 0
        self._samples, self.slab = dataset.chunks[:2]
        counts = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
        self._touched = np.zeros(counts[:2], dtype=bool)
        self._waiting = np.zeros_like(self._touched)  # chunks that HDF5 may hold back until it is told to flush
        self._held_back = 0  # how many they are
        self._chunk_bytes = counts[2] * _most_bytes(math.prod(dataset.chunks) * dataset.dtype.itemsize)
        self._index_bytes = _INDEX_BYTES * math.prod(counts)  # HDF5 lays out its index with the first chunk
        self._end = self._file.id.get_filesize()
        self.attrs: dict[str, Any] = {}
        self.begun = self.whole = False
        self.failure: OSError | None = None
        self._take_ahead()

    def put(self, samples: slice, times: slice, values: Array) -> None:
        """Write states of successive trajectories, (samples, times, components), at successive times.

        Raises
        ------
        OSError
            If the disk has no room for them. HDF5 knows nothing of them then, and can still write what it was given.
        """
        rows, columns = (
            slice(part.start // size, -(-part.stop // size))
            for part, size in ((samples, self._samples), (times, self.slab))
        )
        waiting = self._waiting[rows, columns]
        self._held_back += waiting.size - int(waiting.sum())
        waiting[...] = True
        self.take(self._chunk_bytes * self._held_back + self._index_bytes)
        self._touched[rows, columns] = True  # before it is: what is interrupted in between is written again
        self._y[samples, times] = values
        self.begun = True
        self._unseen += values.nbytes
        if self._unseen >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let those see what was written who read along, or come after a killed process."""
        self._y.flush()
        self._unseen = self._index_bytes = self._held_back = 0
        self._waiting[:] = False
        self._end = self._file.id.get_filesize()
        self._take_ahead()

    def _take_ahead(self) -> None:
        """Make sure of room for the next slab, so that a full disk is found before the work that it has no room for."""
        ahead = min(len(self._touched), int((~self._touched).sum()))
        self.take(self._chunk_bytes * ahead + self._index_bytes)

    def take(self, size: int) -> None:
        """Make sure of room for so many bytes, and for what HDF5 needs to close the file."""
        try:
            self._room.take(self._end, size + _MARGIN)
        except OSError as error:
            self.failure = error
            raise

    def fill(self) -> None:
        """Write NaN into chunks that nothing was written into: else their absence would look like damage."""
        for row, column in np.argwhere(~self._touched):
            rows = slice(row * self._samples, min((row + 1) * self._samples, self._y.shape[0]))
            times = slice(column * self.slab, min((column + 1) * self.slab, self._y.shape[1]))
            shape = (rows.stop - rows.start, times.stop - times.start, self._y.shape[2])
            self.put(rows, times, np.full(shape, np.nan, dtype=self._y.dtype))
        self.flush()


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

    The file has a temporary name, ``.<name>.<random>.part``, until the block ends; if it raises, the file is removed,
    but kept under such a name if the disk is full. A file that is being written, or that a killed process left, can be
    read up to the last flush by ``h5py.File(part, "r", swmr=True)``; the next whole file of the name takes its place.
    States that are never written are NaN.

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
        If the disk is full; it says where what was reached is kept.
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
    slab = min(shape[1], max(1, slab_bytes // (shape[0] * shape[2] * np.dtype(dtype).itemsize)))
    stream: TrajectoryStream | None = None
    with replacing(path, overwrite=overwrite) as part, Room(part) as room:
        try:
            with _created(part, path, room, _bytes_of(encoded) + _stored(t)) as file:
                put_header(file, FORMAT, SCHEMA_VERSION, encoded)
                put_dataset(file, "t", t, units=time_unit, description=DESCRIPTIONS["t"], axes=AXES["t"][-t.ndim :])
                about: _About = {"columns": names, "units": labels, "description": DESCRIPTIONS["y"], "axes": AXES["y"]}
                dataset = _states(file, shape, slab, dtype, compression, about)
                file.swmr_mode = True
            with file:
                stream = TrajectoryStream(dataset, room)
                yield stream
                stream.fill()
                stream.take(_bytes_of(encode_attributes(stream.attrs)))
            with lent(part):
                _add(part, stream.attrs)
            stream.whole = True
            check_output(path, overwrite=overwrite)
        except BaseException as error:
            if stream is None or not stream.begun:
                raise
            if stream.failure is not None:
                reason = f"{os.strerror(stream.failure.errno or 0)}; {_kept(part, Path(path))}"
                raise OSError(stream.failure.errno, reason, str(path)) from error
            if stream.whole and isinstance(error, DataError):  # a file was made here meanwhile
                raise DataError(f"{error}; {_kept(part, Path(path))}") from error
            raise


@contextmanager
def _created(part: Path, path: str | os.PathLike[str], room: Room, size: int) -> Iterator[h5py.File]:
    """Create the file with room for so many bytes, and leave it open when the block ends, for others to read along."""
    room.take(0, size + _MARGIN)
    with lent(part), ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(part, "w", libver=LIBVER, rdcc_nbytes=_CACHE_BYTES))
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise DataError(f"cannot write {os.fspath(path)}: {reason}; choose another folder") from error
        room.take(0, size + _MARGIN)  # HDF5 has emptied the file
        yield file
        stack.pop_all()


def _kept(part: Path, final: Path) -> str:
    """Leave what was reached where nothing removes it before a whole file takes its place, and say where."""
    return f"what was reached is kept as {part.rename(new_part(final))}, see docs/data.md"


def _most_bytes(size: int) -> int:
    """Return how many bytes a chunk of `size` has in a file at most: its checksum, and gzip where nothing is gained."""
    return size + size // 1000 + 64


def _stored(values: Array) -> int:
    """Return how many bytes an array has in whole chunks."""
    chunk = chunk_shape(values.shape, values.itemsize)
    count: int = math.prod(-(-size // each) for size, each in zip(values.shape, chunk, strict=True))
    return count * (_most_bytes(math.prod(chunk) * values.itemsize) + _INDEX_BYTES)


def _bytes_of(attrs: Mapping[str, Any]) -> int:
    """Return about how many bytes encoded attributes take in a file, rather too many."""
    return sum(2 * np.asarray(value).nbytes + 256 for value in attrs.values())


def _states(
    file: h5py.File,
    shape: tuple[int, int, int],
    slab: int,
    dtype: str,
    compression: str | None,
    about: _About,
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


_UNKNOWN = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}


class Room:
    """The blocks behind the end of a file that another part of the process writes.

    Parameters
    ----------
    path
        The file, which exists.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR)

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def take(self, start: int, size: int) -> None:
        """Take the blocks of `size` bytes from `start` on; the file may grow by them.

        Where the file system cannot set blocks aside, it is asked for what is free.

        Raises
        ------
        OSError
            If the disk, a quota or a limit of the process has no room for them.
        """
        if sys.platform == "linux":
            try:
                os.posix_fallocate(self._descriptor, start, size)
                return
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    raise
        with suppress(AttributeError):  # a system that does not say
            found = os.fstatvfs(self._descriptor)
            if found.f_bavail * found.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
