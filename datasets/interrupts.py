"""Ctrl-C, kept waiting where an exception in the middle would lose what is already there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupts", "interrupts_held"]

Handler = Callable[[int, FrameType | None], object]


class Interrupts:
    """A handler of SIGINT that notes it, or, once, lets it through.

    Parameters
    ----------
    handler
        The handler that it stands for; None where interrupts are not this thread's business.
    """

    def __init__(self, handler: Handler | None) -> None:
        self._handler = handler
        self._open = False
        self.noted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if not self._open or self._handler is None:
            self.noted = True
            return
        self._open = False  # before the exception is raised: a second Ctrl-C finds the gate closed
        self._handler(number, frame)
        self._open = True

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Let the first interrupt of the block through."""
        self._open = True
        try:
            yield
        finally:
            self._open = False


@contextmanager
def interrupts_held() -> Iterator[Interrupts]:
    """Keep Ctrl-C waiting until the block has ended.

    In threads but the main one, to which Python delivers no signals, and where the process ignores them, nothing is
    changed.
    """
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(before):
        yield Interrupts(None)
        return
    held = Interrupts(before)
    signal.signal(signal.SIGINT, held)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
        if held.noted:
            before(signal.SIGINT, None)
