"""Functions of users on their way to where cells are computed, and digests that tell when their code has changed."""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
import pickle
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from physode.optional_imports import needs

__all__ = ["digest_of", "on_its_way", "received"]

_HERE = "here:"
_here: dict[str, Callable[..., Any]] = {}


@contextmanager
def on_its_way(f: Callable[..., Any], *, away: bool) -> Iterator[str]:
    """Give the text by which :func:`received` finds a function, while the block runs.

    Parameters
    ----------
    f
        Any callable.
    away
        Whether it goes to other processes; else it stays where it is.

    Raises
    ------
    ConfigError
        If it is to go away, and the extra ``cluster`` is not installed.
    """
    if away:
        cloudpickle = needs("cloudpickle", extra="cluster", purpose="`jobs` or `scheduler`")
        yield base64.b64encode(cloudpickle.dumps(f)).decode()
        return
    key = f"{_HERE}{id(f)}"
    _here[key] = f
    try:
        yield key
    finally:
        _here.pop(key, None)


def received(text: str) -> Callable[..., Any]:
    """Return the function that a text stands for.

    It comes from the process that asks, which sends its workers code to run in any case, and never from a file.
    """
    if text.startswith(_HERE):
        return _here[text]
    found: Callable[..., Any] = pickle.loads(base64.b64decode(text))
    return found


def digest_of(f: Any) -> str:
    """Return a fingerprint of a callable's code, and of the numbers and text that it has at hand."""
    digest = hashlib.sha256()
    for part in _parts(f, depth=0):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _parts(value: Any, depth: int) -> Iterator[str]:
    """Yield what tells a value from others, as texts; what lies deep inside only by its type."""
    if depth > 8:
        yield type(value).__qualname__
    elif isinstance(value, types.CodeType):
        yield from (value.co_code.hex(), repr(value.co_names), repr(value.co_varnames))
        for constant in value.co_consts:
            yield from _parts(constant, depth + 1)
    elif isinstance(value, functools.partial):
        yield from _parts([value.func, value.args, value.keywords], depth + 1)
    elif isinstance(value, types.MethodType):
        yield from _parts([value.__func__, value.__self__], depth + 1)
    elif isinstance(value, types.FunctionType):
        yield from _parts([value.__code__, value.__defaults__, value.__kwdefaults__], depth + 1)
        outside = inspect.getclosurevars(value)
        yield from _parts(list(outside.nonlocals.items()), depth + 1)
        own = [each for each in outside.globals.values() if getattr(each, "__module__", None) == value.__module__]
        yield from _parts(
            [each for each in own if isinstance(each, types.FunctionType) and each is not value], depth + 1
        )
    elif isinstance(value, list | tuple | set | frozenset):
        for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from _parts(item, depth + 1)
    elif isinstance(value, dict):
        yield from _parts(list(value.items()), depth + 1)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value)
    elif isinstance(value, type):
        yield value.__qualname__
        for name in ("__call__", "forward"):
            yield from _parts(vars(value).get(name), depth + 1)
    elif hasattr(value, "state_dict"):  # a module of torch
        yield from _parts([type(value), list(value.state_dict().items())], depth + 1)
    elif hasattr(value, "tolist"):
        yield repr(value.tolist())
    else:
        yield type(value).__qualname__
        yield from _parts(getattr(type(value), "__call__", None), depth + 1)  # noqa: B004 - its code, not whether
        yield from _parts(value.__getstate__(), depth + 1)
