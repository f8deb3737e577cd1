"""Values as JSON (RFC 8259) can say them, written and read.

JSON knows no NaN and no infinities: they become null. Arrays and tensors become lists.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from physode.errors import DataError


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON text that every reader takes."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Return `value` as what JSON can say: None, truth values, finite numbers, text, lists and mappings of these."""
    match value:
        case _ if hasattr(value, "tolist"):  # NumPy's and torch's arrays and numbers
            return plain(value.tolist())
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def read_json(path: Path, *, largest: int = 1 << 30) -> Any:
    """Return what a small JSON file of physode's own says.

    Raises
    ------
    DataError
        As :func:`read_text`, and if it is no JSON.
    """
    try:
        return json.loads(read_text(path, largest=largest))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def read_text(path: Path, *, largest: int = 1 << 30) -> str:
    """Return the text of a small file of physode's own.

    Raises
    ------
    DataError
        If it is missing, no file, larger than `largest` bytes, or no text in UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    if path.stat().st_size > largest:
        raise DataError(f"{path} is damaged: it has {path.stat().st_size} bytes, more than {largest}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is damaged: it holds bytes that are no text") from None


def has_fields(value: object, kind: type[Any]) -> TypeGuard[dict[str, Any]]:
    """Whether a value that was read is a mapping with a dataclass's names; those with a default may be left out."""
    fields = dataclasses.fields(kind)
    needed = {each.name for each in fields if each.default is each.default_factory}
    return isinstance(value, dict) and needed <= value.keys() <= {each.name for each in fields}


def is_number(value: object) -> bool:
    """Whether a value that was read is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def are_numbers(value: object) -> bool:
    """Whether a value is what constants are told as: lists of numbers by their names, null for what is not finite."""
    return isinstance(value, dict) and all(
        isinstance(each, list) and all(number is None or is_number(number) for number in each)
        for each in value.values()
    )
