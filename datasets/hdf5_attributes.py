"""Attributes of HDF5 files: numbers and text as they are, everything else as text in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import h5py
import numpy as np
import numpy.typing as npt

from physode.datasets.files import shown
from physode.errors import DataError

JSON_NAMES = "json_attributes"
"""The file attribute that lists which of the others are text in JSON."""

RESERVED = frozenset({"format", "schema_version", JSON_NAMES})


_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("rhs", "param_units", "param_descriptions", "statics"), dict),
    **dict.fromkeys(("notes", "bodies"), list),
    "time_unit": str,
}


_WORDS: Mapping[type, str] = {dict: "values by their names", list: "a list", str: "text"}


def fixed_text(words: str | Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Text of a fixed length in UTF-8, one or several.

    Text of a variable length would be kept in HDF5's global heap, which has no checksum: there, the HDF5 library can
    follow a damaged length round and round for ever. Names of files that are no UTF-8 keep their bytes.
    """
    encoded = [word.encode(errors="surrogateescape") for word in ([words] if isinstance(words, str) else words)]
    kind = h5py.string_dtype("utf-8", max([1, *map(len, encoded)]))
    return np.array(encoded[0] if isinstance(words, str) else encoded, dtype=kind)


def encode_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn attributes into what HDF5 can hold.

    Numbers, booleans, text and numeric arrays stay as they are. Everything else (dicts, lists, None) becomes text in
    JSON, and its name goes on the list `JSON_NAMES`.

    Raises
    ------
    DataError
        If a name is taken by the layout or is no text, or a value is not one that JSON can say.
    """
    encoded: dict[str, Any] = {}
    as_json = []
    for name, value in attrs.items():
        if not isinstance(name, str) or not name or "\0" in name:
            raise DataError(f"`attrs` must have words for names, got {name!r}")
        if name in RESERVED:
            raise DataError(f"`attrs[{name!r}]` is a name that the file layout uses itself; choose another")
        if _is_text(value):
            encoded[name] = fixed_text(value)
        elif _is_numeric(value):
            encoded[name] = value
        else:
            encoded[name] = fixed_text(_to_json(name, value))
            as_json.append(name)
    encoded[JSON_NAMES] = fixed_text(json.dumps(as_json))
    return encoded


def decode_attributes(attrs: h5py.AttributeManager) -> dict[str, Any]:
    """Undo `encode_attributes`; tuples come back as lists, NumPy scalars as Python's.

    Raises
    ------
    DataError
        If an attribute that has a meaning is not of its kind.
    """
    as_json = json.loads(attribute_value(attrs.get(JSON_NAMES, "[]")))
    decoded = {name: attribute_value(value) for name, value in attrs.items() if name not in RESERVED}
    for name in as_json:
        decoded[name] = json.loads(decoded[name])
    for name, kind in _KINDS.items():
        if name in decoded and not isinstance(decoded[name], kind):
            raise DataError(
                f"its attribute `{name}` must be {_WORDS[kind]}, it is {shown(repr(decoded[name]))}; correct it, or "
                "make the file again"
            )
    return decoded


def _is_text(value: object) -> TypeGuard[str]:
    # HDF5 ends text at a NUL; and UTF-8 has no lone surrogates, which stand for odd bytes in file names.
    return isinstance(value, str) and not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)


def _is_numeric(value: object) -> bool:
    match value:
        case bool() | float():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case np.generic() | np.ndarray():
            return value.dtype.kind in "fiub" and value.size > 0
        case _:
            return False


def _to_json(name: str, value: object) -> str:
    try:
        return json.dumps(value, default=_jsonable)
    except (TypeError, ValueError) as error:
        raise DataError(f"`attrs[{name!r}]` cannot be stored: {error}; use numbers, text, lists and dicts") from error


def _jsonable(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def attribute_value(value: Any) -> Any:
    """A Python value for what h5py gives for an attribute: text of either kind as `str`, several as a list."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        return [attribute_value(item) for item in value.tolist()]
    return value


def words_of(value: Any) -> tuple[str, ...]:
    """An attribute as words, however many it holds."""
    return tuple(str(word) for word in attribute_value(np.atleast_1d(value)))
