"""Words for who reads, and for terminals, which obey what they are shown: text of others is freed of commands."""

from __future__ import annotations

from typing import TextIO

__all__ = ["is_terminal", "visible"]


def visible(text: str) -> str:
    r"""Return a text with what cannot be printed, escape sequences above all, written out: ``\x1b[31m``."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that was closed before Python began is None."""
    return stream is not None and not stream.closed and stream.isatty()
