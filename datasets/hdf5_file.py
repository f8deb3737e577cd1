"""HDF5 files of physode's own layouts: written whole, whatever becomes of the disk, and read without trust in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from physode.datasets.atomic_write import filling
from physode.datasets.files import check_file, shown
from physode.datasets.hdf5_attributes import attribute_value, fixed_text
from physode.datasets.interrupts import interrupts_held
from physode.datasets.trajectories import Array
from physode.errors import DataError

LIBVER = ("v110", "v110")
"""HDF5 1.10's structures carry checksums, so that damage is found where it would otherwise be followed, and they lift
the limit of 64 KiB on an attribute. Every HDF5 since 2016 reads them."""


_CHUNK_BYTES = 1 << 20

# Deflate, the strongest of HDF5's own filters, packs at most 1032 bytes into one.
_MOST_COMPRESSED = 1032
_SAME_SIZE_FILTERS = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


@contextmanager
def filling_hdf5(part: Path) -> Iterator[h5py.File]:
    """Open a part (:func:`physode.datasets.atomic_write.replacing`) as a new HDF5 file.

    HDF5 writes what it holds of a dataset when the dataset is closed, swallows what fails there, and may crash at the
    end of the process; so the file is ours, and it is known of every byte whether it was written. Ctrl-C waits: raised
    while HDF5 calls back, it would be one more failed write.

    Raises
    ------
    OSError
        If the disk is full.
    """
    with interrupts_held(), filling(part) as raw, h5py.File(raw, "w", libver=LIBVER) as file:
        yield file


def put_header(file: h5py.File, layout: str, version: int, encoded: Mapping[str, Any]) -> None:
    """Say of a new file which layout it has, and put its attributes, encoded."""
    file.attrs.update({"format": fixed_text(layout), "schema_version": version, **encoded})


def put_dataset(
    file: h5py.File,
    name: str,
    values: Array,
    *,
    compression: Literal["gzip"] | None = None,
    level: int | None = None,
    shuffle: bool = False,
    **about: str | tuple[str, ...],
) -> None:
    """Write one dataset in chunks with checksums, and what is said about it as its attributes."""
    dataset = file.create_dataset(
        name,
        data=values,
        chunks=chunk_shape(values.shape, values.itemsize),
        compression=compression,
        compression_opts=level,
        shuffle=shuffle,
        fletcher32=True,
    )
    for key, value in about.items():
        dataset.attrs[key] = fixed_text(value)


def chunk_shape(shape: tuple[int, ...], itemsize: int, *, target: int = _CHUNK_BYTES) -> tuple[int, ...]:
    """Chunks of about `target` bytes that hold whole trajectories; one that is larger is divided along time.

    Parameters
    ----------
    shape
        The dataset's shape, trajectories first, no axis empty.
    itemsize
        Bytes a number.
    target
        Bytes a chunk.
    """
    chunk = list(shape)
    for axis in range(len(chunk)):
        size = itemsize * int(np.prod(chunk, dtype=object))
        if size <= target:
            break
        chunk[axis] = max(1, chunk[axis] * target // size)
    return tuple(chunk)


@contextmanager
def open_hdf5(path: str | os.PathLike[str], *, layout: str, version: int, holding: str) -> Iterator[h5py.File]:
    """Open a file of one of physode's layouts; what goes wrong in the block raises `DataError` naming the file.

    Parameters
    ----------
    path
        The file.
    layout
        What its attribute ``format`` must be.
    version
        What its attribute ``schema_version`` must be.
    holding
        What such files hold, for messages.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, no HDF5, or of another layout or version, or holds a link to another
        file or to nothing.
    """
    with guarded_hdf5(path) as file:
        _check_schema(file, layout=layout, version=version, holding=holding)
        check_links(file)
        yield file


@contextmanager
def guarded_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open any HDF5 file; what goes wrong in the block, or is damaged, raises `DataError` naming the file."""
    check_file(Path(path))
    if not h5py.is_hdf5(path):
        raise DataError(f"{os.fspath(path)} is not an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}") from error
    except PermissionError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        # The types through which h5py reports what the HDF5 library makes of damaged bytes.
        raise DataError(f"{os.fspath(path)} is damaged or incomplete, make it again: {error}") from error


def find_dataset(file: h5py.File, name: str, *, group: str | None = None, kinds: str = "fiub") -> h5py.Dataset:
    """Return the dataset of numbers ``/name``, or ``/group/name``, with all its numbers in this file.

    `kinds` are NumPy's letters of what it may hold: ``"S"`` is text of a fixed length.

    Raises
    ------
    DataError
        If there is none, or it holds no numbers, is stored elsewhere, or declares more than the file can hold.
    """
    path = name if group is None else f"{group}/{name}"
    dataset = file[path] if holds(file, name if group is None else group) else None
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"it has no dataset /{path}; see docs/data.md for the layout")
    if dataset.dtype.kind not in kinds:
        what = "text of a fixed length" if kinds == "S" else "numbers"
        raise DataError(f"/{path} must hold {what}, it holds {dataset.dtype}")
    check_stored(file, dataset, path)
    return dataset


def check_stored(file: h5py.File, dataset: h5py.Dataset, path: str) -> None:
    """Raise `DataError` if a dataset is stored elsewhere, or declares more than the file can hold."""
    if dataset.is_virtual or dataset.external:
        raise DataError(f"/{path} is stored in other files; copy its numbers into this one")
    _check_size(file, dataset, path)


def check_total(file: h5py.File, datasets: Iterable[h5py.Dataset]) -> None:
    """Raise `DataError` unless a file is large enough for all of these datasets, each of which `find_dataset` gave.

    What is stored counts as often as a name leads to it. So whatever links a file has, it can ask for no more than 1032
    times its own bytes.
    """
    stored, size = sum(dataset.id.get_storage_size() for dataset in datasets), file.id.get_filesize()
    if stored > size:
        raise DataError(
            f"its datasets take {stored} bytes, but it has {size}; it is damaged, or several names lead to one "
            "dataset: store each once"
        )


def is_hdf5(path: Path) -> bool:
    """Whether a file's name or its first bytes say that it is HDF5."""
    return path.suffix.casefold() in {".h5", ".hdf5"} or bool(h5py.is_hdf5(path))


def layout_of(path: str | os.PathLike[str]) -> str | None:
    """Return what a file says that its layout is, its attribute ``format``; None if it is no HDF5 or does not say."""
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return None
    try:
        with h5py.File(path, "r") as file:
            found = attribute_value(file.attrs.get("format"))
    except (OSError, RuntimeError, LookupError, ValueError, TypeError):  # damaged: its readers say how
        return None
    return found if isinstance(found, str) else None


def holds(file: h5py.File, name: str) -> bool:
    """Whether the file lists a name; unlike `in`, no less so where what is behind the name is damaged."""
    return name in list(file)


def group_names(file: h5py.File, group: str) -> list[str]:
    """Return the names of a group of datasets; none where the file has no such group."""
    if not holds(file, group):
        return []
    if not isinstance(file[group], h5py.Group):
        raise DataError(f"/{group} must be a group of datasets")
    return list(file[group])


def values_of(dataset: h5py.Dataset) -> Array:
    """All of a dataset, in this machine's byte order."""
    return np.asarray(dataset[()], dtype=dataset.dtype.newbyteorder("="))


def floating(values: Array) -> Array:
    """Whole numbers and truth values as float64, others as they are."""
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _check_schema(file: h5py.File, *, layout: str, version: int, holding: str) -> None:
    if attribute_value(file.attrs.get("format")) != layout:
        raise DataError(f"it is an HDF5 file, but not one of {holding}: its attribute `format` is not {layout!r}")
    found = attribute_value(file.attrs.get("schema_version"))
    if found != version:
        raise DataError(
            f"its schema_version is {found!r}, this physode reads {version}; make it again, or update physode"
        )


def check_links(file: h5py.File) -> None:
    """Refuse links out of the file, which would show another's numbers as its own or wait for a pipe, and dead ones."""
    links: list[tuple[str, int]] = []
    file.id.links.visit(lambda name, about: links.append((attribute_value(name), about.type)), info=True)
    known = (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT)
    for name in (name for name, kind in links if kind not in known):
        raise DataError(f"/{shown(name)} is a link to another file, and not followed; copy what is there into this one")
    for name in (name for name, kind in links if kind == h5py.h5l.TYPE_SOFT):
        _check_soft_link(file, name)


def _check_soft_link(file: h5py.File, name: str) -> None:
    try:
        file[name]
    except (KeyError, RuntimeError):
        target = shown(file.get(name, getlink=True).path)
        raise DataError(f"/{shown(name)} is a link to {target}, which leads to nothing; remove it") from None


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
