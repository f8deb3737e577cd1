"""What is checked of any file before it is read, and how its words are quoted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from physode.errors import DataError

__all__ = ["check_file", "json_of", "naming", "shown", "text_of"]


def check_file(path: Path, *, largest: int | None = None) -> None:
    """Raise `DataError` unless `path` is a file that exists, is not empty, and has at most `largest` bytes."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty; make it again")
    if largest is not None and size > largest:
        raise DataError(f"{path} has {size} bytes, more than {largest}; store its numbers as HDF5")


def text_of(path: Path, *, largest: int = 1 << 30) -> str:
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


def json_of(path: Path, *, largest: int = 1 << 30) -> Any:
    """Return what a file of JSON says.

    Raises
    ------
    DataError
        As `text_of`, and if it is no JSON.
    """
    text = text_of(path, largest=largest)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a file's name before what a `DataError` of the block says, unless it begins with it."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error) if str(error).startswith(f"{path} ") else f"{path}: {error}") from error


def shown(text: str, *, longest: int = 40) -> str:
    """Return a file's own words for a message: short, and free of what a terminal would obey."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= longest else f"{clean[:longest]}..."
