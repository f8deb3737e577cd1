"""Files of MATLAB: vectors, matrices and structs of numbers as columns of a table. Nothing in them is executed."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import scipy.io

from physode.datasets.files import check_file, shown
from physode.datasets.hdf5_attributes import attribute_value
from physode.datasets.hdf5_file import check_links, check_stored, check_total
from physode.datasets.tables import sources
from physode.datasets.trajectories import Array
from physode.errors import DataError

_COMPRESSED, _BLOCK, _HEADER = 15, 1 << 20, 128
_MOST_VARIABLES = 10_000
_NUMBERS = frozenset({"double", "single", "logical", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))})
_DAMAGED = (
    scipy.io.matlab.MatReadError, zlib.error, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    NotImplementedError, RuntimeError, ArithmeticError, MemoryError,
)  # fmt: skip
"""The types through which SciPy and h5py report what they make of damaged bytes."""

Variables = dict[str, "Array | dict[str, Array]"]
"""Arrays by name, and structs of arrays."""


@dataclass(frozen=True)
class MatlabColumns:
    """The columns of a file.

    Attributes
    ----------
    columns
        By name, float64, (R,) each.
    words
        What is worth saying of it.
    """

    columns: dict[str, Array]
    words: tuple[str, ...]


def read_matlab(path: Path, names: Sequence[str] | None) -> MatlabColumns:
    """Read the variables of a file of version 5 or 7.3 as columns.

    A vector is a column, a matrix as many as it has columns, ``x_1``, ``x_2``, ...; a struct has its fields. All must
    have one number of rows; where that is clear, single numbers are left out, and matrices turned.

    Parameters
    ----------
    names
        The variables to read; None for all that hold numbers.

    Raises
    ------
    DataError
        If the file is too large or damaged, has no such variable, one that is no array of real numbers, or variables
        of several lengths and `names` does not say which.
    """
    check_file(path, largest=sources.LARGEST)
    with _reporting():
        found, others = _hdf5(path, names) if sources.is_matlab_hdf5(path) else _version_5(path, names)
    for name in names or ():
        if name not in found:
            what = f"is {others[name]}, no array or struct of numbers" if name in others else "is not in it"
            listed = ", ".join(map(shown, list(found)[:20])) or "none"
            raise DataError(f"the variable {shown(name)} {what}; those that hold numbers are {listed}")
    if not found:
        raise DataError("it holds no array or struct of numbers; save the times and values as arrays")
    return _as_columns(found, chosen=names is not None)


@contextmanager
def _reporting() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"it is damaged or no file of MATLAB: {error}; save it again") from error


def _version_5(path: Path, names: Sequence[str] | None) -> tuple[Variables, dict[str, str]]:
    _check_unpacked(path)
    listed = scipy.io.whosmat(path)
    if len(listed) > _MOST_VARIABLES:
        raise DataError(f"it has {len(listed)} variables, more than {_MOST_VARIABLES}; save fewer")
    kinds = {name: kind for name, _, kind in listed}
    for name, shape, kind in listed:
        if kind in _NUMBERS and 8 * int(np.prod(shape, dtype=object)) > sources.LARGEST:
            raise DataError(f"the variable {shown(name)} has {shape} numbers, too many; store them as HDF5")
    wanted = [name for name, kind in kinds.items() if kind in (*_NUMBERS, "struct") and (not names or name in names)]
    read = scipy.io.loadmat(path, variable_names=wanted, struct_as_record=True) if wanted else {}
    found: Variables = {}
    for name in wanted:
        value = _of_scipy(read[name])
        if value is None:
            kinds[name] = f"{kinds[name]} with other things than real numbers"
        else:
            found[name] = value
    return found, kinds


def _of_scipy(value: Any) -> Array | dict[str, Array] | None:
    """Return an array of real numbers, or a struct of them; None if it is neither."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.ndim == 2:
        return value.astype(np.float64)
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        fields = {name: _of_scipy(value[name].item()) for name in value.dtype.names}
        numbers = {name: field for name, field in fields.items() if isinstance(field, np.ndarray)}
        return numbers or None
    return None


def _check_unpacked(path: Path) -> None:
    """Refuse a file whose variables unpack to more than a table may have, before any is read."""
    left = sources.LARGEST
    with path.open("rb") as file:
        order = "<" if file.read(_HEADER)[126:128] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, size = (int(number) for number in np.frombuffer(tag, dtype=f"{order}u4"))
            end = file.tell() + size
            left -= _unpacked(file, size, left) if kind == _COMPRESSED else size
            if left < 0:
                raise DataError(f"its variables have more than {sources.LARGEST} bytes; store their numbers as HDF5")
            file.seek(end)


def _unpacked(file: BinaryIO, size: int, most: int) -> int:
    unpacker, total = zlib.decompressobj(), 0
    while size > 0 and total <= most and not unpacker.eof:
        block = file.read(min(size, _BLOCK))
        size -= len(block)
        if not block:
            break
        while block and total <= most:
            total += len(unpacker.decompress(block, _BLOCK))
            block = unpacker.unconsumed_tail
    return total


def _hdf5(path: Path, names: Sequence[str] | None) -> tuple[Variables, dict[str, str]]:
    found: Variables = {}
    others: dict[str, str] = {}
    with h5py.File(path, "r") as file:
        check_links(file)
        listed = [name for name in file if not name.startswith("#")]
        if len(listed) > _MOST_VARIABLES:
            raise DataError(f"it has {len(listed)} variables, more than {_MOST_VARIABLES}; save fewer")
        read: list[h5py.Dataset] = []
        for name in listed:
            if names and name not in names:
                continue
            item = file[name]
            fields = {each: item[each] for each in item} if isinstance(item, h5py.Group) else {"": item}
            arrays = {each: dataset for each, dataset in fields.items() if _holds_numbers(dataset)}
            if not arrays:
                others[name] = str(attribute_value(item.attrs.get("MATLAB_class")))
                continue
            for each, dataset in arrays.items():
                check_stored(file, dataset, f"{name}/{each}".rstrip("/"))
                read.append(dataset)
            if 8 * sum(dataset.size for dataset in read) > sources.LARGEST:
                raise DataError(
                    f"its variables have more than {sources.LARGEST} bytes; name those to read (--variable)"
                )
            check_total(file, read)
            values = {each: np.asarray(dataset[()], dtype=np.float64).T for each, dataset in arrays.items()}
            found[name] = values if isinstance(item, h5py.Group) else values[""]
    return found, others


def _holds_numbers(dataset: Any) -> bool:
    return (
        isinstance(dataset, h5py.Dataset)
        and dataset.dtype.kind in "fiu"
        and dataset.ndim == 2
        and attribute_value(dataset.attrs.get("MATLAB_class", "double")) in _NUMBERS
        and "MATLAB_empty" not in dataset.attrs
    )


def _as_columns(variables: Variables, *, chosen: bool) -> MatlabColumns:
    arrays: dict[str, Array] = {}
    for name, value in variables.items():
        if isinstance(value, Mapping):
            prefix = "" if len(variables) == 1 else f"{name}."
            arrays.update({f"{prefix}{field}": array for field, array in value.items()})
        else:
            arrays[name] = value
    arrays = {name: array for name, array in arrays.items() if array.size}
    rows = _rows(arrays)
    left = [
        name for name, array in arrays.items() if array.size == 1 and rows > 1 and not (chosen and name in variables)
    ]
    columns: dict[str, Array] = {}
    for name, array in arrays.items():
        if name not in left:
            columns.update(_columns(name, array, rows))
    words = ["variables " + ", ".join(map(shown, list(variables)[:10])) + (", ..." if len(variables) > 10 else "")]
    return MatlabColumns(columns, tuple(words + ([f"single numbers left out: {', '.join(left[:10])}"] if left else [])))


def _rows(arrays: Mapping[str, Array]) -> int:
    """Return the number of rows: that of the vectors, or else that of the matrices."""
    if not arrays:
        raise DataError("its variables are empty; save the times and values")
    vectors = {name: array.size for name, array in arrays.items() if min(array.shape) == 1 and array.size > 1}
    sizes = vectors or {name: len(array) for name, array in arrays.items() if array.size > 1} or {"": 1}
    if len(set(sizes.values())) > 1:
        (one, first), (other, second) = sorted(sizes.items(), key=lambda each: each[1])[:: len(sizes) - 1]
        raise DataError(
            f"{shown(one)} has {first} values, {shown(other)} {second}; say which belong together: "
            "--variable NAME, once for each"
        )
    return next(iter(sizes.values()))


def _columns(name: str, array: Array, rows: int) -> dict[str, Array]:
    if array.size == rows:
        return {name: array.reshape(-1)}
    shape = " x ".join(map(str, array.shape))
    if array.shape == (rows, rows):
        raise DataError(f"{shown(name)} is {shape}: whether rows or columns are times cannot be told; save its columns")
    if rows not in array.shape:
        raise DataError(f"{shown(name)} is {shape}, the others have {rows} rows; name those to read: --variable NAME")
    upright = array if array.shape[0] == rows else array.T
    return {f"{name}_{i}": column for i, column in enumerate(upright.T, 1)}
