"""What is checked of any file before it is read."""

from __future__ import annotations

from pathlib import Path

from physode.errors import DataError

__all__ = ["check_file"]


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
