"""What is checked of any file before it is read, and how its words are quoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from physode.errors import DataError

__all__ = ["check_file", "naming", "shown"]


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
