"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from physode.errors import DataError

__all__ = ["check_free", "replacing"]


def check_free(paths: Iterable[Path]) -> None:
    """Raise ``DataError`` if a file that is to be made exists already: to be called before the work."""
    for path in paths:
        if path.exists():
            raise DataError(f"{path} exists already; overwrite it (--force on the command line)")


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file under a temporary name in its folder, and give it its own name only when it is whole.

    The block writes to the path that it is given. When it ends, the file is synced to disk and renamed over `path`;
    when it raises, the file is removed. A process that is killed leaves at most a hidden ``.<name>.<random>.part``,
    never a half-written `path`.

    Raises
    ------
    DataError
        If `path` exists and `overwrite` is False, if it is a folder, or if its folder does not exist.
    """
    final = Path(path)
    if final.is_dir():
        raise DataError(f"cannot write {final}: it is a folder; name a file")
    if not final.parent.is_dir():
        raise DataError(f"cannot write {final}: the folder {final.parent} does not exist; create it first")
    if final.exists() and not overwrite:
        raise DataError(f"{final} exists already; choose another name, or overwrite it (--force on the command line)")
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        _sync(part)
        part.replace(final)
        _sync(final.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Ask the system to put what it holds of a file, or of a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
