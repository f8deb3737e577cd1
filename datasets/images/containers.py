"""Folders and archives of files from others: what is in them, and its bytes, never unpacked to disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from physode.datasets.images.images import Skipped
from physode.errors import DataError

__all__ = ["LARGEST_FILE", "MOST_FILES", "Container", "Entry", "Folder", "Listing", "refusal"]

LARGEST_FILE = 1 << 28
"""Bytes of one file that is read from a container: 256 MiB. CIFAR-100's training images are one file of 154 MB."""

MOST_FILES = 2_000_000
"""Files in one container."""


@dataclass(frozen=True)
class Entry:
    """A file in a container: its path there with slashes, its bytes, and when it was changed, where that is known."""

    name: str
    size: int
    changed: int = 0


@dataclass(frozen=True)
class Listing:
    """The files of a container in the order of their names, and those that will not be read."""

    entries: list[Entry]
    skipped: list[Skipped]


class Container(Protocol):
    """A folder or an archive of files."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def listing(self) -> Listing:
        """Its files, found once."""
        ...

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes | Skipped]]:
        """Give the bytes of some of its files, in the container's own order."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder on disk. Links are followed to files inside of it only."""

    path: Path

    @cached_property
    def listing(self) -> Listing:
        """Its files."""
        found: list[Entry] = []
        skipped: list[Skipped] = []
        root = self.path.resolve()
        for place, folders, files in os.walk(self.path):
            inside = Path(place).relative_to(self.path)
            links = [name for name in folders if Path(place, name).is_symlink()]
            skipped += [Skipped(f"{(inside / name).as_posix()}/", "a link to a folder") for name in links]
            for name in files:
                entry = _entry(Path(place, name), (inside / name).as_posix(), root)
                found.append(entry) if isinstance(entry, Entry) else skipped.append(entry)
            if len(found) > MOST_FILES:
                raise DataError(f"{self.path} holds more than {MOST_FILES} files; name the folder of the images alone")
        return Listing(sorted(found, key=lambda entry: entry.name), skipped)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes | Skipped]]:
        """Give the bytes of some of its files, in the order of their names."""
        for name in sorted(names):
            try:
                with (self.path / name).open("rb") as file:
                    yield name, file.read(LARGEST_FILE)
            except OSError as error:
                yield name, Skipped(name, str(error.strerror or error).lower())


def refusal(name: str, size: int) -> Skipped | None:
    """Return why a file of an archive is not read, or None where nothing is wrong with it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        return Skipped(name, "its path leads out of the archive")
    return _too_large(name, size)


def _entry(path: Path, name: str, root: Path) -> Entry | Skipped:
    try:
        outside = path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # the latter before Python 3.13
        return Skipped(name, "a link that leads round in a circle")
    if outside:
        return Skipped(name, "a link that leads out of the folder")
    if not path.is_file():
        return Skipped(name, "no regular file")
    about = path.stat()
    return _too_large(name, about.st_size) or Entry(name, about.st_size, about.st_mtime_ns)


def _too_large(name: str, size: int) -> Skipped | None:
    return Skipped(name, f"{size} bytes, more than {LARGEST_FILE}") if size > LARGEST_FILE else None
