"""Who is at work on a file or in a folder: locks that end with the process that holds them.

They are ``flock``'s: the system drops them with the process, however it ends, and NFS turns them into locks that other
machines see. Where a file system has no locks, the work goes on without.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path

from physode.datasets.files import PART_LETTERS, longest_name
from physode.errors import DataError

_TRIES, _PAUSE = 5, 0.1  # seconds at most
_descriptors: dict[Path, int] = {}  # of the parts of this process
_mine: ContextVar[frozenset[Path]] = ContextVar("folders that this thread has claimed", default=frozenset())


class InUseError(DataError):
    """Another process is at work on a file or in a folder."""


@contextmanager
def claimed_part(final: Path) -> Iterator[Path]:
    """Make an empty file beside `final`, ``.<name>.<random>.part``; whoever has one is the writer of `final`.

    Its lock is shared, so that readers can have theirs. Two writers that come at once see each other; both begin again,
    at moments of their own. What is left of the part is removed when the block ends.

    Raises
    ------
    InUseError
        If another writer of `final` is at work.
    """
    other: Path | None = None
    for _ in range(_TRIES):
        part = new_part(final)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _descriptors[part] = descriptor
        try:
            _locked(descriptor, shared=True, wait=True)
            if _is(descriptor, part):  # not removed as dead before it had its lock
                other = next((each for each in _parts(final) if each != part and _alive(each)), None)
                if other is None:
                    yield part
                    return
        finally:
            part.unlink(missing_ok=True)
            del _descriptors[part]
            os.close(descriptor)
        time.sleep(random.uniform(0.0, _PAUSE))  # so that the two do not meet again
    raise InUseError(f"{final} is being written by another process, as {other}; wait for it, or choose another name")


@contextmanager
def lent(part: Path) -> Iterator[None]:
    """Leave a claimed part to HDF5, which takes a lock of its own for as long as nobody may read along."""
    _unlock(_descriptors[part])
    try:
        yield
    finally:
        _locked(_descriptors[part], shared=True)


def new_part(final: Path) -> Path:
    """Return a name for a part of a file."""
    return final.with_name(f".{_stem(final)}.{secrets.token_hex(4)}.part")


def remains(final: Path) -> list[Path]:
    """Return the parts of a file whose writers are dead."""
    return [each for each in _parts(final) if _alive(each) is False]


@contextmanager
def claimed_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Be the only one at work in a folder, which may not be there yet, or may be replaced meanwhile.

    The lock is a file beside it, ``.<name>.lock``, or, where none can be made there, in it. It is removed at the end;
    one that a killed process has left holds nobody up. Within a claim of the same thread, nothing is asked again.

    Raises
    ------
    InUseError
        If another is at work there: its process and machine are named.
    """
    place = Path(folder).resolve()
    if place in _mine.get():
        yield
        return
    within = place / ".lock.part"
    lock = place.with_name(f".{_stem(place)}.lock") if place.name else within
    try:
        descriptor = _taken(lock, Path(folder))
    except PermissionError:
        lock = within
        descriptor = _taken(lock, Path(folder))
    token = _mine.set(_mine.get() | {place})
    try:
        yield
    finally:
        _mine.reset(token)
        with suppress(OSError):  # another user's, left by a killed process in a folder where one removes one's own only
            lock.unlink()
        os.close(descriptor)


def _taken(lock: Path, folder: Path) -> int:
    """Open and lock a folder's lock file, and write into it who has it."""
    while True:
        descriptor = _opened(lock, os.O_CREAT)
        if _locked(descriptor) is False:
            time.sleep(_PAUSE)  # enough for the other to write its name
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise InUseError(f"{folder} is in use by {holder}; wait for it, end it, or choose another folder")
        if _is(descriptor, lock):  # not removed by the one that had it before
            break
        os.close(descriptor)
    with suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode())
    return descriptor


def _stem(final: Path) -> str:
    """Return a file's name, or, where a part's would be too long, its beginning with a digest."""
    name, room = final.name, longest_name(final.parent) - PART_LETTERS
    if len(os.fsencode(name)) <= room:
        return name
    digest = sha256(os.fsencode(name)).hexdigest()[:8]
    return f"{os.fsencode(name)[: room - 9].decode(errors='ignore')}-{digest}"


def _parts(final: Path) -> list[Path]:
    form = re.compile(rf"\.{re.escape(_stem(final))}\.[0-9a-f]{{8}}\.part")
    try:
        with os.scandir(final.parent) as entries:
            return [final.with_name(entry.name) for entry in entries if form.fullmatch(entry.name)]
    except PermissionError:  # a folder that one may write into, and not list
        return []


def _alive(part: Path) -> bool | None:
    """Return whether anyone has a part open who writes or reads it; None where that cannot be known."""
    try:
        descriptor = _opened(part)
    except OSError:  # it is gone, or another user's
        return None
    try:
        free = _locked(descriptor)
        return None if free is None else not free
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int = 0) -> int:
    """Open a file to lock it: for writing where that is allowed, which NFS needs for an exclusive lock."""
    flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, os.O_RDWR | flags, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags, 0o666)


def _locked(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file; False where another has it locked, None where there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
