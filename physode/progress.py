"""Progress of long work, on stderr so that results can be piped: a bar on a terminal or in a notebook, a line a minute
elsewhere.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TextIO

__all__ = [
    "Words",
    "is_terminal",
    "is_watched",
    "length",
    "progress_bar",
    "showing_epochs",
    "showing_progress",
    "visible",
]

_FIRST, _LATER = 10.0, 60.0  # seconds until the first line, and from line to line


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[float], None] | None]:
    """Show a bar while the block runs, and give the function that moves it to a fraction.

    Where nobody watches nothing is shown, and None is given.
    """
    if not is_watched():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(visible(description)), total=1.0)
        yield lambda fraction: progress.update(task, completed=fraction)


@contextmanager
def showing_progress(description: str) -> Iterator[Callable[[float], None]]:
    """Show a bar as :func:`progress_bar` does; where nobody would see it, say now and then how far long work is."""
    with progress_bar(description) as bar:
        if bar is not None:
            yield bar
            return
        with Words(description) as words:
            yield words.tell


@contextmanager
def showing_epochs(what: str, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Show how far work of many epochs is: a bar with the time that is left, or now and then a line.

    Parameters
    ----------
    what
        What is done: "training NAME".
    shown
        Whether to show anything at all.

    Yields
    ------
    Callable
        What is told the finished share, and in words where the work is, and what came of it last; None for what has not
        changed.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[last]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (shown and is_watched())
    with (
        Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar,
        Words(what) if hidden and shown else nullcontext() as words,
    ):
        task = bar.add_task(escape(visible(what)), total=1.0, last="")
        told = {"where": "", "last": ""}

        def tell(share: float, where: str | None = None, last: str | None = None) -> None:
            told.update({name: text for name, text in (("where", where), ("last", last)) if text is not None})
            bar.update(task, completed=share, description=told["where"], last=told["last"])
            if words is not None:
                words.tell(share, ", ".join(filter(None, told.values())))

        yield tell


class Words:
    """Says on stderr, while the block runs, what is done, how far it is and about how long it will take.

    The first line comes after ten seconds, and then one a minute: short work says nothing.

    Parameters
    ----------
    description
        What is done.
    """

    def __init__(self, description: str) -> None:
        self._description = visible(description)
        self._fraction, self._note = 0.0, ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Words:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def tell(self, fraction: float, note: str = "") -> None:
        """Take note of the finished fraction, and of what else there is to say."""
        self._fraction, self._note = fraction, note

    def line(self, seconds: float) -> str:
        """Return what there is to say after a time."""
        note = f", {visible(self._note)}" if self._note else ""
        if not 0 < self._fraction <= 1:
            return f"{self._description}: under way for {length(seconds)}{note}"
        left = seconds / self._fraction - seconds
        return f"{self._description}: {self._fraction:.2%} after {length(seconds)}{note}, about {length(left)} to go"

    def _speak(self) -> None:
        after = _FIRST
        while not self._over.wait(max(0.0, self._began + after - time.monotonic())):
            print(self.line(after), file=sys.stderr, flush=True)  # noqa: T201 - a report of progress
            after += _LATER


def length(seconds: float) -> str:
    """Return a length of time in the unit that suits it."""
    for unit, size in (("years", 365.25 * 86400.0), ("days", 86400.0), ("hours", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def is_watched() -> bool:
    """Return whether somebody sees a bar: on a terminal, or in a notebook that has ipywidgets to draw it with."""
    return is_terminal(sys.stderr) or _in_notebook()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that was closed before Python began is None."""
    return stream is not None and not stream.closed and stream.isatty()


def visible(text: str) -> str:
    r"""Return a text with what cannot be printed, escape sequences above all, written out: ``\x1b[31m``."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _in_notebook() -> bool:
    from rich.console import Console

    return Console(stderr=True).is_jupyter and find_spec("ipywidgets") is not None
