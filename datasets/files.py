"""What is checked of a file before it is read, and of an output before the work: its kind, name and folder."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from physode.errors import ConfigError, DataError


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


def check_run_folder(folder: Path, *, example: str) -> None:
    """Raise `ConfigError` unless there is a folder of this name; `example` is one that a run might have."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; name the folder of a run, such as {example}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a file's name before what a `DataError` of the block says, unless it begins with it."""
    try:
        yield
    except DataError as error:
        named = str(error).startswith((f"{path} ", f"{path}: "))
        raise DataError(str(error) if named else f"{path}: {error}") from error


def shown(text: str, *, longest: int = 40) -> str:
    """Return a file's own words for a message: short, and free of what a terminal would obey."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= longest else f"{clean[:longest]}..."


PART_LETTERS = len("..01234567.part")
"""By how much the name under which a file is written may be longer than its own."""

_KINDS = {
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_NAME_MAX, _PATH_MAX = 255, 4096


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False, make: bool = False) -> None:
    """Raise `DataError` unless a file can be written at `path`, as far as can be known without writing it.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether it may exist: as a regular file, or a link to one, which is replaced by the file.
    make
        Whether its folder is made where it is missing.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is False; if a folder, device, pipe, socket, or a link to one of them or to
        nothing is there; if its folder does not exist, is none, or may not be written to; or if its name is too long.
    """
    final = Path(path)
    with _refusing(final):
        _check_kind(final, overwrite=overwrite)
        if make:
            check_folder(final.parent)
        elif not final.parent.is_dir():
            _refuse_parent(final)
        else:
            _check_rights(final, final.parent)
        _check_name(final)


def check_outputs(paths: Iterable[Path], *, overwrite: bool = False) -> None:
    """Check several outputs, whose folders are made where they are missing, as :func:`check_output`."""
    for path in paths:
        check_output(path, overwrite=overwrite, make=True)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise `DataError` unless `path` is a folder that may be written to, or one that can be made."""
    folder = Path(path)
    with _refusing(folder):
        place = folder
        while not os.path.lexists(place) and place != place.parent:
            _check_name(place)
            place = place.parent
        if not place.is_dir():
            raise DataError(f"cannot write into {folder}: {place} is not a folder; choose another")
        _check_rights(folder, place)


def check_different(**paths: Path | None) -> None:
    """Raise `DataError` if two outputs, given by their options' names, are one file."""
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None:
            with _refusing(path):
                other = seen.setdefault(path.parent.resolve() / path.name, name)
            if other != name:
                raise DataError(f"--{other} and --{name} are one file, {path}; give them different names")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say of a name that the system refuses to look up why it does; on Windows, why none is written."""
    if sys.platform == "win32":  # neither locks nor folders that can be synced, nor names given to open files
        raise DataError(
            f"cannot write {path}: on Windows physode solves, and reads files, but writes none; run it under WSL"
        )
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        name = str(path) if len(str(path)) <= _NAME_MAX else f"{str(path)[:40]}..."
        raise DataError(f"cannot write {name}: {reason}; choose another name") from error


def _check_kind(final: Path, *, overwrite: bool) -> None:
    try:
        mode = final.stat().st_mode
    except FileNotFoundError:
        if final.is_symlink():
            raise DataError(f"cannot write {final}: it is a link to nothing; remove it, or name a file") from None
        return
    except NotADirectoryError:
        return  # the folder's fault, said below
    except OSError as error:
        if error.errno == errno.ELOOP and final.is_symlink():
            raise DataError(
                f"cannot write {final}: it is a link that leads nowhere; remove it, or name a file"
            ) from None
        raise
    if stat.S_ISDIR(mode):
        raise DataError(f"cannot write {final}: it is a folder; name a file")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise DataError(f"cannot write {final}: it is {kind}; name a file")
    if not overwrite:
        raise DataError(f"{final} exists already; overwrite it (--force), or choose another name")


def _refuse_parent(final: Path) -> None:
    if os.path.lexists(final.parent):
        raise DataError(f"cannot write {final}: {final.parent} is not a folder; choose another")
    raise DataError(f"cannot write {final}: the folder {final.parent} does not exist; create it first")


def _check_rights(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"cannot write {path}: the folder {folder} may not be written to; choose another")


def longest_name(folder: Path) -> int:
    """Return how many bytes a name in a folder may have."""
    return _most(folder, "PC_NAME_MAX", _NAME_MAX)


def _check_name(path: Path) -> None:
    letters, most = len(os.fsencode(path.name)), longest_name(path.parent)
    if letters > most:
        raise DataError(
            f"cannot write {path.name[:40]}...: its name has {letters} bytes, of at most {most}; shorten it"
        )
    letters, most = len(os.fsencode(path)) + PART_LETTERS, _most(path.parent, "PC_PATH_MAX", _PATH_MAX)
    if letters >= most:  # one is for the byte that ends it
        raise DataError(
            f"cannot write ...{str(path)[-40:]}: its path is longer than {most - PART_LETTERS} bytes; shorten it"
        )


def _most(folder: Path, name: str, otherwise: int) -> int:
    try:
        found = os.pathconf(folder, name)
    except (OSError, ValueError, AttributeError):  # it does not exist yet, or the system does not say
        return otherwise
    return found if found > 0 else otherwise
