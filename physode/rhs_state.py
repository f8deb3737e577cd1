"""What a right-hand side reads beside ``(t, y, *args)``: attributes, closures, buffers, and the modules among them.

A right-hand side must be a function of ``(t, y)`` for a solve to make sense, and the same one in the pass back. So
running statistics move only with evaluations of accepted steps, and what a user changes between a solve and its pass
back is set back while that lasts (:class:`Surroundings`).
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Referred", "Statistics", "Surroundings", "changed_message"]

_MOST_PLACES = 2**14  # looked at, of whatever a right-hand side refers to
_MOST_BYTES = 2**16  # of a tensor or array whose contents are kept
_OWN_OF_MODULES = frozenset(vars(nn.Module())) - {"_parameters", "_buffers", "_modules", "training"}
_LIBRARIES = (sys.stdlib_module_names - {"types"}) | {
    "torch",
    "numpy",
    "scipy",
    "physode",
    "matplotlib",
    "pandas",
    "pytest",
}
_SCALARS = (bool, int, float, complex, str, bytes, type(None))


class _Place(NamedTuple):
    """Where something is kept: an entry of a dict or list, an attribute, or a closure's cell, with what stood there."""

    holder: Any
    key: Any
    value: Any

    def current(self) -> Any:
        """Return what stands there now; :data:`_NOTHING` where nothing does."""
        with suppress(LookupError, AttributeError, ValueError):
            if isinstance(self.holder, types.CellType):
                return self.holder.cell_contents
            indexed = isinstance(self.holder, dict | list | deque)
            return self.holder[self.key] if indexed else getattr(self.holder, self.key)
        return _NOTHING

    def put(self, value: Any) -> None:
        """Set what stands there."""
        if isinstance(self.holder, types.CellType):
            self.holder.cell_contents = value
        elif value is _NOTHING:
            with suppress(LookupError, AttributeError):
                if isinstance(self.holder, dict):
                    del self.holder[self.key]
                elif not isinstance(self.holder, list | deque):
                    delattr(self.holder, self.key)
        elif isinstance(self.holder, dict):
            self.holder[self.key] = value
        elif isinstance(self.holder, list | deque):
            if self.key < len(self.holder):
                self.holder[self.key] = value
            else:
                self.holder.append(value)
        else:
            setattr(self.holder, self.key, value)

    @property
    def differs(self) -> bool:
        """Whether something else stands there now."""
        now = self.current()
        if now is self.value:
            return False
        return not (type(now) is type(self.value) and isinstance(now, _SCALARS) and now == self.value)


_NOTHING = object()


def _places(f: Any) -> Iterator[_Place]:
    """Give every place that ``f`` refers to, directly or through what stands in another, as far as can be seen.

    Attributes of objects, modules and their classes; elements of lists, tuples, dicts and sets; a function's closure,
    defaults and the global names in its code, those of the functions that it calls included.
    """
    seen: set[int] = set()
    stack: list[Any] = [f]
    count = 0
    while stack and count < _MOST_PLACES:
        holder = stack.pop()
        if id(holder) in seen or isinstance(holder, _SCALARS):
            continue
        seen.add(id(holder))
        for place in _inside(holder):
            count += 1
            stack.append(place.value)
            yield place


def _inside(holder: Any) -> Iterator[_Place]:
    if isinstance(holder, Tensor | np.ndarray | types.ModuleType | types.BuiltinFunctionType):
        return
    if isinstance(holder, dict):
        yield from (_Place(holder, key, value) for key, value in list(holder.items()))
    elif isinstance(holder, list | tuple | set | frozenset | deque):
        yield from (_Place(holder, i, value) for i, value in enumerate(list(holder)))
    elif isinstance(holder, functools.partial):
        yield _Place(holder, "func", holder.func)
        yield _Place(holder, "args", holder.args)
        yield _Place(holder, "keywords", holder.keywords)
    elif isinstance(holder, types.MethodType):
        yield _Place(holder, "__func__", holder.__func__)
        yield _Place(holder, "__self__", holder.__self__)
    elif isinstance(holder, types.FunctionType):
        yield from _of_function(holder)
    elif isinstance(holder, staticmethod | classmethod):
        yield _Place(holder, "__func__", holder.__func__)
    elif isinstance(holder, type):
        if not _is_of_library(holder):
            for key, value in list(vars(holder).items()):
                if not (key.startswith("__") and key != "__call__"):
                    yield _Place(holder, key, getattr(value, "fget", value))
    else:
        yield from _of_object(holder)


def _of_function(function: types.FunctionType) -> Iterator[_Place]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a cell that is still empty
            yield _Place(cell, None, cell.cell_contents)
    yield _Place(function, "__defaults__", function.__defaults__)
    yield _Place(function, "__kwdefaults__", function.__kwdefaults__)
    if _is_of_library(function):
        return
    names = _names(function.__code__)
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield _Place(function.__globals__, name, value)
        if isinstance(value, types.ModuleType) and not _is_of_library(value):
            yield from (
                _Place(value, inner, vars(value)[inner])
                for inner in names
                if inner in vars(value)
                and isinstance(vars(value)[inner], (Tensor, np.ndarray, list, dict, nn.Module, *_SCALARS))
            )


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Return the global and attribute names in a function's code, and in that of functions defined in it."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return (*code.co_names, *(name for part in inner for name in _names(part)))


def _of_object(holder: Any) -> Iterator[_Place]:
    kind = type(holder)
    if isinstance(holder, nn.Module):
        for key, value in list(vars(holder).items()):
            if key not in _OWN_OF_MODULES:
                yield _Place(vars(holder), key, value)
    elif not _is_of_library(kind):
        if isinstance(getattr(holder, "__dict__", None), dict):
            yield from (_Place(vars(holder), key, value) for key, value in list(vars(holder).items()))
        for name in _slots(kind):
            with suppress(AttributeError):
                yield _Place(holder, name, getattr(holder, name))
    yield from (_Place(holder, "__class__", each) for each in kind.__mro__ if not _is_of_library(each))


def _slots(kind: type) -> list[str]:
    slots = (getattr(each, "__slots__", ()) for each in kind.__mro__)
    return [name for each in slots for name in ([each] if isinstance(each, str) else each) if name != "__dict__"]


def _is_of_library(part: Any) -> bool:
    name = getattr(part, "__module__", None) or getattr(part, "__name__", "")
    return str(name).split(".")[0] in _LIBRARIES


@dataclass(frozen=True)
class Referred:
    """What a right-hand side refers to, looked up once a solve.

    Attributes
    ----------
    modules
        The modules that it is or calls upon: itself, or those behind a method, a partial application, a helper, an
        attribute, list or dict of something that it refers to. ``lambda t, y: net(y)`` is as good as ``net``.
    tensors
        The leaves that require gradients, used or not.
    is_compiled
        Whether ``torch.compile`` has been at work: its programs must not be watched, which would end them for good.
    """

    places: tuple[_Place, ...] = ()
    modules: tuple[nn.Module, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    is_compiled: bool = False

    @classmethod
    def by(cls, f: Callable[..., Any]) -> Referred:
        """Look up what ``f`` refers to, as far as can be seen without calling it."""
        places = tuple(_places(f))
        values = {id(value): value for value in (f, *(place.value for place in places))}.values()
        modules = tuple(value for value in values if isinstance(value, nn.Module))
        tensors = (value for value in values if isinstance(value, Tensor))
        leaves = tuple(x for x in tensors if x.requires_grad and x.is_leaf)
        return cls(places, modules, leaves, any(map(_is_compiled, values)))

    @property
    def uses_dropout(self) -> bool:
        """Whether a module with dropout is at work."""
        return any(
            isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0 for part in self.modules
        )


def _is_compiled(value: Any) -> bool:
    names = getattr(value, "__dict__", None)
    if not isinstance(names, dict):
        return False
    return "_torchdynamo_orig_callable" in names or names.get("_compiled_call_impl") is not None


class Statistics:
    """The buffers that an evaluation changes, such as batch norm's statistics, watched so that they can be set back.

    Before the first evaluation these are the buffers of the ``modules`` in training; :meth:`watch` then drops them
    where none has changed.
    """

    def __init__(self, modules: Iterable[nn.Module] = ()) -> None:
        parts = [part for part in modules if part.training]
        found = {id(b): b for part in parts for b in part.buffers(recurse=False)}
        self._buffers: list[Tensor] = list(found.values())
        self._versions = [_version(buffer) for buffer in self._buffers]

    def watch(self, changed: Iterable[Tensor] = ()) -> None:
        """Call after the first evaluation: stop watching where nothing changed.

        ``changed``: further tensors that this evaluation was seen to change.
        """
        if all(_version(b) == version for b, version in zip(self._buffers, self._versions, strict=True)):
            self._buffers, self._versions = [], []
        known = {id(buffer) for buffer in self._buffers}
        for buffer in changed:
            if id(buffer) not in known:
                self._buffers.append(buffer)
                self._versions.append(_version(buffer))

    def snapshot(self) -> list[Tensor]:
        """Return copies of the buffers as they are."""
        return [buffer.detach().clone() for buffer in self._buffers]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Set the buffers back to a snapshot."""
        for buffer, saved in zip(self._buffers, snapshot, strict=True):
            buffer.data.copy_(saved)  # .data: batch norm's graph keeps the buffer, though training never reads it

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Set the buffers back at the end, whatever happened inside."""
        before = self.snapshot()
        try:
            yield
        finally:
            self.restore(before)


class Surroundings:
    """What a right-hand side refers to, as it is in a solve.

    Kept are references, and the contents of tensors and arrays up to 64 KiB that no gradient reaches. What evaluations
    change themselves, such as counters, is not among it.
    """

    def __init__(self, referred: Referred) -> None:
        self._places = list(referred.places)
        values = {id(place.value): place.value for place in self._places}
        self._contents = [_Content.of(value) for value in values.values() if _has_contents(value)]

    def settle(self) -> None:
        """Call after the first evaluation: what it changed is left alone from now on."""
        self._places = [place for place in self._places if _can_be_put(place) and not place.differs]
        self._contents = [content for content in self._contents if not content.differs]

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """Set what a user has changed since back to what it was, as long as this lasts.

        Raises
        ------
        RuntimeError
            If something was changed in place whose contents are too large to be kept.
        """
        places = [(place, place.current()) for place in self._places if place.differs]
        with ExitStack() as stack:
            for content in self._contents:
                if content.differs:
                    stack.enter_context(content.set_back())
            for place, _ in places:
                place.put(place.value)
            try:
                yield
            finally:
                for place, now in places:
                    place.put(now)


class _Content(NamedTuple):
    """The contents of a tensor or array: its count of changes in place, and a copy unless it is large."""

    value: Tensor | np.ndarray[Any, Any]
    version: int
    copy: Tensor | np.ndarray[Any, Any] | None

    @classmethod
    def of(cls, value: Tensor | np.ndarray[Any, Any]) -> _Content:
        copy = None if value.nbytes > _MOST_BYTES else _copied(value)
        return cls(value, _version(value), copy)

    @property
    def differs(self) -> bool:
        """Whether the contents were changed in place."""
        if isinstance(self.value, Tensor):
            if _version(self.value) != self.version:
                return True
            if self.value.untyped_storage().resizable():  # torch's own memory, of which it counts the changes
                return False
        return self.copy is not None and not bool(
            np.array_equal(self.value, self.copy, equal_nan=_is_inexact(self.value))
        )

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """Set the contents back as long as this lasts."""
        if self.copy is None:
            raise RuntimeError(changed_message(f"a tensor of shape {tuple(self.value.shape)}"))
        now = _copied(self.value)
        _fill(self.value, self.copy)
        try:
            yield
        finally:
            _fill(self.value, now)


def changed_message(what: str) -> str:
    """Return what to say where the right-hand side is no longer what it was in the solve."""
    return (
        f"{what} that the right-hand side uses was changed between the solve and its pass back, so that gradients "
        "would be wrong (or it draws numbers that are not torch's): pass what varies in `args`, or change it after "
        "backward()"
    )


def _has_contents(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype != object)
    if not isinstance(value, Tensor) or value.requires_grad or value.is_meta:
        return False
    return value.layout == torch.strided


def _can_be_put(place: _Place) -> bool:
    """Whether another value may stand in a place; in a tuple, say, it cannot, and nobody puts a class elsewhere."""
    if isinstance(place.holder, tuple | set | frozenset | functools.partial | types.MethodType):
        return False
    return place.key != "__class__" and not (isinstance(place.holder, type) and isinstance(place.value, Callable))  # type: ignore[arg-type]


def _version(value: Any) -> int:
    return int(value._version) if isinstance(value, Tensor) and not value.is_inference() else 0


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


def _fill(value: Any, contents: Any) -> None:
    if isinstance(value, Tensor):
        value.data.copy_(contents)  # .data: the count of changes stays, as the contents will be what they were
    else:
        value[...] = contents


def _is_inexact(value: Any) -> bool:
    return bool(np.issubdtype(np.asarray(value).dtype, np.inexact))
