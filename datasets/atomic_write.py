"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from physode.datasets.files import check_output
from physode.datasets.locks import claimed_part, new_part, remains
from physode.errors import DataError

_BLOCK = 1 << 16
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}  # what a write may fail of


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file under a temporary name in its folder, and give it its own name only when it is whole.

    The block writes to the path that it is given, an empty file. When it ends, the file is synced to disk and given its
    name; when it raises, it is removed. A process that is killed leaves at most a hidden ``.<name>.<random>.part``,
    never a half-written `path`; the next writer of `path` removes it when it has succeeded. There is one writer of
    `path` at a time.

    Without `overwrite`, a file that has come meanwhile is kept, too: names are given by a link, which fails where there
    is one, where the file system has links.

    Raises
    ------
    DataError
        As :func:`physode.datasets.files.check_output`, before the block or after it; or if another process is writing
        `path`.
    OSError
        If the disk is full; it names `path`.
    """
    final = Path(path)
    check_output(final, overwrite=overwrite)
    with _named(final), claimed_part(final) as part:
        yield part
        _sync(part)
        check_output(final, overwrite=overwrite)
        _publish(part, final, overwrite=overwrite)
        _sync(final.parent)
        for each in remains(final):
            each.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a text file in UTF-8, whole or not at all; raises as :func:`replacing`."""
    with replacing(path, overwrite=overwrite) as part:
        fill_text(part, text)


def fill_text(part: Path, text: str) -> None:
    """Write a text in UTF-8 into a part."""
    fill_bytes(part, text.encode("utf-8"))


def fill_bytes(part: Path, content: bytes | memoryview) -> None:
    """Write bytes into a part."""
    with io.FileIO(part, "w") as file:
        write_all(file, content)


def write_all(file: io.RawIOBase, content: bytes | memoryview) -> None:
    """Write all of it: what the system takes of one write may be a part."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[file.write(rest) or 0 :]


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line to a text file that may not exist: all of it, or nothing.

    A last line without an end, which a killed process has left, makes way for it.

    Raises
    ------
    OSError
        If the disk is full; the file is as it was.
    """
    with _named(Path(path)), io.FileIO(path, "a+") as file:
        end = _end_of_lines(file)
        if end < file.seek(0, os.SEEK_END):
            file.truncate(end)
        try:
            write_all(file, f"{line}\n".encode())
        except BaseException:
            file.truncate(end)
            raise


def _end_of_lines(file: io.FileIO) -> int:
    """Return where the last whole line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class SteadyFile(io.RawIOBase):
    """A file for libraries that do not survive a failed write: the first failure is kept, and no more is written.

    HDF5 leaves a file whose last write has failed half open, and crashes when the process ends.

    Attributes
    ----------
    failure
        Why no more is written; None as long as all is well.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = io.FileIO(path, "r+")
        self.failure: OSError | None = None

    def write(self, content: Any, /) -> int:
        """Write all of it, unless a write has failed before."""
        if self.failure is None:
            try:
                write_all(self._file, content)
            except OSError as error:
                self.failure = error
        return memoryview(content).nbytes

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file or lengthen it, unless a write has failed before."""
        if self.failure is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self.failure = error
        return self.tell() if size is None else size

    def readinto(self, buffer: Any, /) -> int | None:
        """Read what was written."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def filling(part: Path) -> Iterator[IO[bytes]]:
    """Open a part for a library that does not survive a failed write, and raise what has failed when it is done.

    Raises
    ------
    OSError
        If a write has failed, whatever the library has made of it.
    """
    with SteadyFile(part) as file:
        try:
            yield cast("IO[bytes]", file)
        except Exception as error:
            if file.failure is not None:
                raise file.failure from error
            raise
        if file.failure is not None:
            raise file.failure


@contextmanager
def _named(final: Path) -> Iterator[None]:
    """Have the system's errors that name no file, or one that users do not know, name `final`."""
    try:
        yield
    except OSError as error:
        own = error.errno in _DISK if error.filename is None else str(error.filename).endswith(".part")
        if not own or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), str(final)) from error


def _publish(part: Path, final: Path, *, overwrite: bool) -> None:
    """Give a part its name; without `overwrite` only if nothing has it, which one call decides."""
    if overwrite:
        part.replace(final)
        return
    whole = part.replace(new_part(final))  # a name that no writer has been given: while it is linked, it has two
    try:
        _link(whole, final)
    except FileExistsError:
        raise DataError(f"{final} exists already: it was made meanwhile, and is kept; choose another name") from None
    finally:
        whole.unlink(missing_ok=True)


def _link(whole: Path, final: Path) -> None:
    try:
        os.link(whole, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: an empty file takes the name first
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            whole.replace(final)
        except BaseException:
            with suppress(OSError):
                final.unlink()
            raise


def _sync(path: Path) -> None:
    """Ask the system to put what it holds of a file, or of a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
