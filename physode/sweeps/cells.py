"""One cell of a sweep or a study: a function by name, its arguments, and what came of calling it; all of it data."""

from __future__ import annotations

import hashlib
import json
import pkgutil
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

import physode
from physode.errors import ConfigError, PhysodeError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_LONGEST_REASON = 500
_alone = threading.Lock()


@dataclass(frozen=True)
class Cell:
    """One independent piece of a study.

    Attributes
    ----------
    name
        Letters, digits, dots, hyphens, underscores and spaces; the name of its file has hyphens for spaces.
    function
        ``"module:callable"``, which whoever computes the cell can import.
    arguments
        What it is called with, by keyword: values that JSON can say. The function returns such values, too.
    also
        Further arguments, such as where to compute, that do not decide the result: no part of the fingerprint. ``run``
        is a folder that the function may keep its work in, to go on from; who keeps the result removes it.

    Raises
    ------
    ValueError
        If the name or the function is not of its form, or the arguments are not what JSON can say.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"`name` must be letters, digits and . _ - or spaces between them, got {self.name!r}")
        module, colon, attribute = self.function.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"`function` must be of the form 'module:callable', got {self.function!r}")
        try:
            self.text  # noqa: B018 - its failure is the check
        except (TypeError, ValueError) as error:
            raise ValueError(f"`arguments` of {self.name!r} must be what JSON can say: {error}") from error

    @property
    def text(self) -> str:
        """The arguments as JSON, the same text for the same values."""
        return _text(self.arguments)

    @property
    def file(self) -> str:
        """The name of the cell's file."""
        return f"{self.name.replace(' ', '-')}.json"

    @property
    def fingerprint(self) -> str:
        """A digest of what decides the result: function, arguments and physode's version."""
        parts = json.dumps([self.function, self.text, physode.__version__])
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def call(self) -> tuple[str, str, str]:
        """The arguments of :func:`perform`."""
        return self.function, _text({**self.arguments, **self.also}), physode.__version__


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes
    ----------
    result
        What its function returned; None where it failed.
    failure
        Why it failed, in one line; None where it did not.
    seconds
        How long its function took; 0 where that is not known.
    lost
        Whether it failed because what computed it died.
    """

    result: Any = None
    failure: str | None = None
    seconds: float = 0.0
    lost: bool = False


def perform(function: str, arguments: str, version: str) -> str:
    """Call a cell's function with its arguments, and return the outcome; texts in JSON both ways.

    Processes exchange text so that nothing but data comes back. Cells of one process are taken one at a time, on one
    thread each: they seed torch's global generator, and share its number of threads.
    """
    with _alone, _one_thread():
        began = time.perf_counter()
        try:
            if version != physode.__version__:
                raise ConfigError(f"physode is {physode.__version__} where the cell was sent, the study's is {version}")
            result = pkgutil.resolve_name(function)(**json.loads(arguments))
            found = json.dumps({"result": result}, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - whatever a cell raises is its outcome; the other cells go on
            found = json.dumps({"failure": one_line(error)})
        return json.dumps({**json.loads(found), "seconds": time.perf_counter() - began})


def outcome_of(text: str) -> Outcome:
    """Read what :func:`perform` returned."""
    return Outcome(**json.loads(text))


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, allow_nan=False)


def one_line(error: BaseException) -> str:
    """Return an error as one line: its message, after its type where the message is not made for users."""
    text = " ".join(str(error).split())
    if not (isinstance(error, PhysodeError) and text):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
