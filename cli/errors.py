"""What a user sees when something fails: one line, unless ``--debug`` asks for the traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from physode.errors import PhysodeError
from physode.progress import visible

# How torch's allocators, which raise plain RuntimeErrors, and its checks of sizes say that memory is out of reach.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Storage size calculation overflowed"
)
_BACKTRACE = re.compile(r"\s*(Exception raised from|frame #\d+:|C\+\+ CapturedTraceback:).*", re.DOTALL)


class _Interrupted(click.ClickException):
    """Ctrl-C; the exit code is the shells' own for it, 128 + SIGINT."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted")


@contextmanager
def reporting(*, debug: bool) -> Iterator[None]:
    """Turn what a command raises into one line on stderr and an exit code: 2 usage, 130 Ctrl-C, 1 the rest."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = visible(error.message)  # which is meant to be final
        raise
    except (click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise  # click's own business; it also ends quietly when the reader of a pipe has gone
    except KeyboardInterrupt as error:
        raise _Interrupted from error
    except Exception as error:
        if debug:
            raise
        raise click.ClickException(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return visible(f"{error.filename}: {error.strerror}")
    text = visible(" ".join(_BACKTRACE.sub("", str(error)).split()))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text)):
        return f"there is not enough memory ({text or 'none is free'}); ask for less at a time"
    if isinstance(error, PhysodeError | ValueError | OSError) and text:
        return text
    return f"unexpected {type(error).__name__}: {text}; run it again with --debug to see where, and please report it"
