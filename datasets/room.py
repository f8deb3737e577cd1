"""Room on the disk, taken before a library writes that does not survive a failed write."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Room"]

_UNKNOWN = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}


class Room:
    """The blocks behind the end of a file that another part of the process writes.

    Parameters
    ----------
    path
        The file, which exists.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR)

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def take(self, start: int, size: int) -> None:
        """Take the blocks of `size` bytes from `start` on; the file may grow by them.

        Where the file system cannot set blocks aside, it is asked for what is free.

        Raises
        ------
        OSError
            If the disk, a quota or a limit of the process has no room for them.
        """
        if sys.platform == "linux":
            try:
                os.posix_fallocate(self._descriptor, start, size)
                return
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    raise
        with suppress(AttributeError):  # a system that does not say
            found = os.fstatvfs(self._descriptor)
            if found.f_bavail * found.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
