"""What a right-hand side refers to, looked up without calling it: through attributes, containers, closures, globals."""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

__all__ = ["Place", "Referred", "code_of"]


_DEPTH = 8  # of containers within containers
_MOST_PLACES = 2**14  # looked at, of whatever a right-hand side refers to
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


class Place(NamedTuple):
    """Where something is kept: an entry of a dict or list, an attribute, or a closure's cell, with what stood there.

    ``owner``: whose place it is, where that is not the ``holder`` itself but an object with it for its attributes.
    """

    holder: Any
    key: Any
    value: Any
    owner: Any = None

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
    def may_differ(self) -> bool:
        """Whether another value may stand here; in a tuple, say, it cannot, and nobody puts a class elsewhere."""
        if isinstance(self.holder, tuple | set | frozenset | functools.partial | types.MethodType):
            return False
        return self.key != "__class__" and not (isinstance(self.holder, type) and callable(self.value))

    @property
    def differs(self) -> bool:
        """Whether something else stands there now."""
        now = self.current()
        if now is self.value:
            return False
        return not (type(now) is type(self.value) and isinstance(now, _SCALARS) and now == self.value)


_NOTHING = object()


def _places(f: Any) -> Iterator[Place]:
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
        for place in islice(_inside(holder), _MOST_PLACES - count):
            count += 1
            stack.append(place.value)
            yield place._replace(owner=holder)


def _inside(holder: Any) -> Iterator[Place]:
    if isinstance(holder, Tensor | np.ndarray | types.ModuleType | types.BuiltinFunctionType):
        return
    if isinstance(holder, dict):
        yield from (Place(holder, key, value) for key, value in holder.items())
    elif isinstance(holder, list | tuple | set | frozenset | deque):
        yield from (Place(holder, i, value) for i, value in enumerate(holder))
    elif isinstance(holder, functools.partial):
        yield Place(holder, "func", holder.func)
        yield Place(holder, "args", holder.args)
        yield Place(holder, "keywords", holder.keywords)
    elif isinstance(holder, types.MethodType):
        yield Place(holder, "__func__", holder.__func__)
        yield Place(holder, "__self__", holder.__self__)
    elif isinstance(holder, types.FunctionType):
        yield from _of_function(holder)
    elif isinstance(holder, staticmethod | classmethod):
        yield Place(holder, "__func__", holder.__func__)
    elif isinstance(holder, type):
        if not _is_of_library(holder):
            for key, value in list(vars(holder).items()):
                if not (key.startswith("__") and key != "__call__"):
                    yield Place(holder, key, getattr(value, "fget", value))
    else:
        yield from _of_object(holder)


def _of_function(function: types.FunctionType) -> Iterator[Place]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a cell that is still empty
            yield Place(cell, None, cell.cell_contents)
    yield Place(function, "__defaults__", function.__defaults__)
    yield Place(function, "__kwdefaults__", function.__kwdefaults__)
    yield from (Place(vars(function), key, value) for key, value in vars(function).items())
    if _is_of_library(function):
        return
    names = _names(function.__code__)
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield Place(function.__globals__, name, value)
        if isinstance(value, types.ModuleType) and not _is_of_library(value):
            yield from (
                Place(value, inner, vars(value)[inner])
                for inner in names
                if inner in vars(value)
                and isinstance(vars(value)[inner], (Tensor, np.ndarray, list, dict, nn.Module, *_SCALARS))
            )


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Return the global and attribute names in a function's code, and in that of functions defined in it."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return (*code.co_names, *(name for part in inner for name in _names(part)))


def _of_object(holder: Any) -> Iterator[Place]:
    kind = type(holder)
    if isinstance(holder, nn.Module):
        for key, value in list(vars(holder).items()):
            if key not in _OWN_OF_MODULES:
                yield Place(vars(holder), key, value)
    elif not _is_of_library(kind):
        if isinstance(getattr(holder, "__dict__", None), dict):
            yield from (Place(vars(holder), key, value) for key, value in list(vars(holder).items()))
        for name in _slots(kind):
            with suppress(AttributeError):
                yield Place(holder, name, getattr(holder, name))
    yield from (Place(holder, "__class__", base) for base in kind.__mro__ if not _is_of_library(base))


def _slots(kind: type) -> list[str]:
    slots = (getattr(base, "__slots__", ()) for base in kind.__mro__)
    return [name for names in slots for name in ([names] if isinstance(names, str) else names) if name != "__dict__"]


def _is_of_library(part: Any) -> bool:
    name = getattr(part, "__module__", None) or getattr(part, "__name__", "")
    return str(name).split(".")[0] in _LIBRARIES


def _results_among(places: Sequence[Place]) -> set[int]:
    """Return the identities of what carries a graph: tensors, solutions, and containers and objects with some inside.

    A right-hand side that keeps its last solution refers to it. To hold these for the next one's sake would keep all.
    """
    results = {id(place.value) for place in places if _carries_graph(place.value)}
    for _ in range(_DEPTH if results else 0):
        inside = {id(place.owner) for place in places if id(place.value) in results and _is_container(place.owner)}
        if inside <= results:
            break
        results |= inside
    return results


def _carries_graph(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.grad_fn is not None
    return type(value).__module__.startswith("physode.") and not isinstance(value, nn.Module)


def _is_container(value: Any) -> bool:
    return not isinstance(value, nn.Module | type | types.CellType) and not callable(value)


class _Seen(NamedTuple):
    places: tuple[Place, ...] = ()
    graphs: tuple[tuple[Place, weakref.ref[Tensor]], ...] = ()
    modules: tuple[nn.Module, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    is_compiled: bool = False


class Referred:
    """What a right-hand side refers to, looked up once a solve, when somebody first asks.

    Parameters
    ----------
    f
        The right-hand side; without one, nothing is referred to.
    """

    def __init__(self, f: Callable[..., Any] | None = None) -> None:
        self._f = f

    @cached_property
    def _seen(self) -> _Seen:
        """What can be seen without calling it."""
        if self._f is None:
            return _Seen()
        places = tuple(_places(self._f))
        values = {id(value): value for value in (self._f, *(place.value for place in places))}.values()
        modules = tuple(value for value in values if isinstance(value, nn.Module))
        tensors = (value for value in values if isinstance(value, Tensor))
        leaves = tuple(x for x in tensors if x.requires_grad and x.is_leaf)
        results = _results_among(places)
        kept = [place._replace(owner=None) for place in places if place.may_differ and id(place.owner) not in results]
        graphs = (place for place in kept if isinstance(place.value, Tensor) and id(place.value) in results)
        return _Seen(
            tuple(place for place in kept if id(place.value) not in results),
            tuple((place._replace(value=None), weakref.ref(place.value)) for place in graphs),
            modules,
            leaves,
            any(map(_is_compiled, values)),
        )

    @property
    def places(self) -> tuple[Place, ...]:
        """Where something else may stand later, with what stands there; not what carries a graph."""
        return self._seen.places

    @property
    def graphs(self) -> tuple[tuple[Place, weakref.ref[Tensor]], ...]:
        """Places of tensors that carry a graph, such as weights that a network makes, and weak references to these."""
        return self._seen.graphs

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules that it is or calls upon.

        Itself, or those behind a method, a partial application, a helper, an attribute, list or dict of something that
        it refers to. ``lambda t, y: net(y)`` is as good as ``net``.
        """
        return self._seen.modules

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The leaves that require gradients, used or not."""
        return self._seen.tensors

    @property
    def is_compiled(self) -> bool:
        """Whether ``torch.compile`` has been at work: its programs must not be watched, which would end them."""
        return self._seen.is_compiled

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


def code_of(f: Any) -> Hashable:
    """Return what tells right-hand sides of different code apart: a code object or a type."""
    if isinstance(f, functools.partial):
        return ("partial", code_of(f.func))
    if isinstance(f, types.MethodType):
        return code_of(f.__func__)
    if isinstance(f, types.FunctionType):
        return f.__code__
    return (type(f),)
