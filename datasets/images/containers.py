"""Folders and archives of files from others: what is in them, and its bytes, never unpacked to disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from physode.datasets.images.images import Skipped
from physode.errors import DataError

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

    @property
    def listing(self) -> Listing:
        """Its files, found once."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes | Skipped]]:
        """Give the bytes of some of its files, in the container's own order."""


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


_MOST_BYTES = 1 << 36  # of all that is unpacked while an archive is read once: 64 GiB
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_BLOCK = 1 << 20  # bytes that are read at once
_ZIP_MAGIC = b"PK\3\4"
_UTF8 = 0x800  # the flag of a zip archive's names in UTF-8
_LOCAL = struct.Struct("<4s5H3I2H")  # the header before a file in a zip archive
_END_RECORD = struct.Struct("<4s4H2IH")
_END_RECORD_64 = struct.Struct("<4sQ2H2I4Q")
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error),
    *(EOFError, OSError, ValueError, RuntimeError, LookupError, ArithmeticError, struct.error, AssertionError),
)


def is_tar(path: Path) -> bool:
    """Whether a file's name or its first bytes say that it is a tar archive, packed by gzip, bzip2, xz or not."""
    with path.open("rb") as file:
        head = file.read(512)
    packed = any(head.startswith(magic) for magic in _OPENERS)
    return head[257:262] == b"ustar" or (packed and ".t" in path.name.casefold())


def is_zip(path: Path) -> bool:
    """Whether a file's name or its bytes say that it is a zip archive."""
    return path.suffix.casefold() == ".zip" or zipfile.is_zipfile(path)


@dataclass(frozen=True)
class Tar:
    """A tar archive. Only regular files are read; links and devices are named as skipped."""

    path: Path

    @cached_property
    def listing(self) -> Listing:
        """Its files; of two with one name the first counts."""
        found: dict[str, Entry] = {}
        skipped = []
        with self._open() as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                refused = refusal(name, member.size)
                if refused is None and not _is_plain(member):
                    refused = Skipped(name, "a link or a device, no regular file")
                if refused is not None:
                    skipped.append(refused)
                elif name not in found:
                    found[name] = Entry(name, member.size)
                _check_count(len(found) + len(skipped))
                _forget(archive)
            _check_end(archive)
        return Listing(sorted(found.values(), key=lambda entry: entry.name), skipped)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes | Skipped]]:
        """Give the bytes of some of its files, in the archive's order."""
        wanted = set(names)
        with self._open() as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if _is_plain(member) and name in wanted and refusal(name, member.size) is None:
                    wanted.discard(name)
                    file = archive.extractfile(member)
                    yield name, b"" if file is None else file.read()
                    if not wanted:
                        return
                _forget(archive)

    @contextmanager
    def _open(self) -> Iterator[tarfile.TarFile]:
        with _damage(self.path), self.path.open("rb") as packed:
            head = packed.read(6)
            packed.seek(0)
            opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
            unpacked = packed if opener is None else opener(packed)
            bounded: Any = _Bounded(unpacked)
            with tarfile.open(fileobj=bounded, mode="r:") as archive:
                yield archive


@dataclass(frozen=True)
class Zip:
    """A zip archive."""

    path: Path

    @cached_property
    def listing(self) -> Listing:
        """Its files; of two with one name the last counts."""
        found: dict[str, Entry] = {}
        skipped = []
        with _damage(self.path), open_zip(self.path) as archive:
            _check_count(len(archive.infolist()))
            _check_bytes(sum(info.file_size for info in archive.infolist()))
            for info in archive.infolist():
                refused = refusal(info.filename, info.file_size)
                if refused is not None:
                    skipped.append(refused)
                elif not info.is_dir():
                    found[info.filename] = Entry(info.filename, info.file_size)
        return Listing(sorted(found.values(), key=lambda entry: entry.name), skipped)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes | Skipped]]:
        """Give the bytes of some of its files, in the order of their names; a damaged one is skipped."""
        with _damage(self.path), open_zip(self.path) as archive:
            for name in sorted(names):
                try:
                    with archive.open(name) as file:
                        yield name, file.read(LARGEST_FILE)
                except _DAMAGE as error:
                    yield name, Skipped(name, f"cannot be unpacked: {error}")


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose directory names all its files as they are named where they lie.

    A file's bytes have a checksum, the directory has none: without these checks a damaged name, or a damaged size of
    the directory, would leave out files without a word.

    Raises
    ------
    zipfile.BadZipFile
        If it is damaged, or is none.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        listed = archive.infolist()
        if len(listed) != _declared_count(file):
            raise zipfile.BadZipFile(f"its directory lists {len(listed)} files, but ends with another number of them")
        for info in listed:
            if _local_name(file, info.header_offset) != info.orig_filename:
                raise zipfile.BadZipFile(f"its directory names {info.orig_filename!r}, and the file there otherwise")
        yield archive


class _Bounded:
    """A file that gives no more than an archive of images may hold, and no more at once than one image."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.latest = b""

    def read(self, count: int) -> bytes:
        """Read `count` bytes."""
        if count > max(LARGEST_FILE, _BLOCK) + (1 << 16):
            raise DataError(f"it asks for {count} bytes at once, more than {LARGEST_FILE}")
        self.latest = self._file.read(count)
        _check_bytes(self._file.tell())
        return self.latest

    def seek(self, place: int) -> int:
        """Go to a place, from the beginning."""
        _check_bytes(place)
        return self._file.seek(place)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what Python's readers of archives raise into one error that names the archive."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except PermissionError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or incomplete, get it again: {error}") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise unless what was taken for the archive's end is its end mark, with nothing but zeros behind.

    tarfile takes whatever is no header for the end. What is packed is read to its own end, where its checksum stands.
    """
    file: Any = archive.fileobj
    block = file.latest
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut off, it has no end mark")
    while block:
        if block.count(0) != len(block):
            raise tarfile.ReadError(f"it has neither a file's header nor its end at byte {archive.offset}")
        block = file.read(_BLOCK)


def _declared_count(file: IO[bytes]) -> int:
    """Return the number of files that a zip archive's end record says."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_RECORD.size - 0xFFFF))
    tail = file.read()
    end = _END_RECORD.unpack_from(tail, tail.rfind(b"PK\5\6"))
    if end[4] != 0xFFFF:
        return int(end[4])
    wide = tail.rfind(b"PK\6\6")  # more files than 16 bits count
    return int(_END_RECORD_64.unpack_from(tail, wide)[7]) if wide >= 0 else int(end[4])


def _local_name(file: IO[bytes], offset: int) -> str:
    """Return the name of a file in a zip archive as it stands before the file itself."""
    file.seek(offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(_ZIP_MAGIC):
        raise zipfile.BadZipFile(f"there is no file at byte {offset}, where its directory has one")
    _, _, flags, *_, length, _ = _LOCAL.unpack(head)
    return file.read(length).decode("utf-8" if flags & _UTF8 else "cp437")


def _forget(archive: tarfile.TarFile) -> None:
    """Drop the members that have been passed, which tarfile keeps to find them by name."""
    archive.members.clear()  # type: ignore[attr-defined]


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _check_count(count: int) -> None:
    if count > MOST_FILES:
        raise DataError(f"it holds more than {MOST_FILES} files")


def _check_bytes(count: int) -> None:
    if count > _MOST_BYTES:
        raise DataError(f"it holds more than {_MOST_BYTES} bytes unpacked")
