"""Processes that are killed at a chosen operation on files, so that every state that a kill can leave is seen."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_CHANGES = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"})


def killed_at(operation: int, below: Path, work: Callable[[], object]) -> bool:
    """Do `work` in a process that dies before its change number `operation`, from 0, to what lies below a folder.

    Returns
    -------
    bool
        Whether it was killed; it ends by itself where it makes fewer changes.
    """
    child = os.fork()
    if child == 0:
        try:
            _die_at(operation, str(below))
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _die_at(operation: int, below: str) -> None:
    left = operation

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in _CHANGES):
            return
        relative = event in {"os.remove", "os.rmdir"} and arguments[1] != -1  # below a folder that is held open
        if relative or str(arguments[0]).startswith(below):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
