"""What a right-hand side is beside a function of ``(t, y, *args)``, in a solve and in its pass back.

A right-hand side must be a function of ``(t, y)`` for a solve to make sense, and the same one in the pass back. So
running statistics move only with evaluations of accepted steps, and what a user changes between a solve and its pass
back is set back while that lasts (:class:`Surroundings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from physode.problem.references import Referred

__all__ = ["Hooks", "Statistics", "Surroundings", "changed_message"]


_MOST_EACH = 2**16  # bytes of a tensor or array whose contents are kept
_MOST_BYTES = 2**22  # of all of them


class _Watched(NamedTuple):
    buffers: list[Tensor]
    versions: list[int]


class Statistics:
    """The buffers that an evaluation changes, such as batch norm's statistics, watched so that they can be set back.

    Before the first evaluation these are the buffers of the ``modules`` in training, as they are when :meth:`look` is
    called; :meth:`watch` then drops them
    where none has changed.
    """

    def __init__(self, modules: Iterable[nn.Module] | Callable[[], Iterable[nn.Module]] = ()) -> None:
        self._modules = modules

    @cached_property
    def _watched(self) -> _Watched:
        modules = self._modules() if callable(self._modules) else self._modules
        parts = [part for part in modules if part.training]
        buffers = list({id(b): b for part in parts for b in part.buffers(recurse=False)}.values())
        return _Watched(buffers, [_version(buffer) for buffer in buffers])

    def look(self) -> None:
        """Call before the first evaluation, at the latest: see how the buffers are."""
        _ = self._watched

    def watch(self, changed: Iterable[Tensor] = ()) -> None:
        """Call after the first evaluation: stop watching where nothing changed.

        ``changed``: further tensors that this evaluation was seen to change.
        """
        buffers, versions = self._watched
        if all(_version(b) == version for b, version in zip(buffers, versions, strict=True)):
            buffers.clear()
            versions.clear()
        known = {id(buffer) for buffer in buffers}
        for buffer in changed:
            if id(buffer) not in known:
                buffers.append(buffer)
                versions.append(_version(buffer))

    def snapshot(self) -> list[tuple[Tensor, Tensor]]:
        """Return the buffers that are watched, with copies of them as they are."""
        return [(buffer, buffer.detach().clone()) for buffer in self._watched.buffers]

    def restore(self, snapshot: list[tuple[Tensor, Tensor]]) -> None:
        """Set the buffers of a snapshot back to it, whether or not they are watched still."""
        for buffer, saved in snapshot:
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

    Kept are references, and the contents of small tensors and arrays that no gradient reaches. What evaluations change
    themselves, such as counters, is not among it; results of other solves, which carry a graph, are referred to weakly.
    """

    def __init__(self, referred: Referred) -> None:
        self._places, self._graphs = list(referred.places), list(referred.graphs)
        self._contents: list[_Content] = []
        room = _MOST_BYTES
        for value in {id(place.value): place.value for place in self._places}.values():
            if _has_contents(value) and value.nbytes <= min(room, _MOST_EACH):
                room -= value.nbytes
                self._contents.append(_Content(value, _version(value), _copied(value)))

    def settle(self) -> None:
        """Call after the first evaluation: what it changed is left alone from now on."""
        self._places = [place for place in self._places if not place.differs]
        self._graphs = [(place, tensor) for place, tensor in self._graphs if place.current() is tensor()]
        self._contents = [content for content in self._contents if not content.differs]

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """Set what a user has changed since back to what it was, as long as this lasts."""
        was = [(place, place.value) for place in self._places if place.differs]
        graphs = ((place, tensor()) for place, tensor in self._graphs)
        was += [(place, tensor) for place, tensor in graphs if tensor is not None and place.current() is not tensor]
        now = [place.current() for place, _ in was]
        with ExitStack() as stack:
            for content in self._contents:
                if content.differs:
                    stack.enter_context(content.set_back())
            for place, value in was:
                place.put(value)
            try:
                yield
            finally:
                for (place, _), value in zip(was, now, strict=True):
                    place.put(value)


class _Content(NamedTuple):
    """The contents of a tensor or array: its count of changes in place, and a copy."""

    value: Tensor | np.ndarray[Any, Any]
    version: int
    copy: Tensor | np.ndarray[Any, Any]

    @property
    def differs(self) -> bool:
        """Whether the contents were changed in place."""
        if isinstance(self.value, Tensor):
            if _version(self.value) != self.version:
                return True
            if self.value.untyped_storage().resizable():  # torch's own memory, of which it counts the changes
                return False
        return not bool(np.array_equal(self.value, self.copy, equal_nan=_is_inexact(self.value)))

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """Set the contents back as long as this lasts."""
        now = _copied(self.value)
        _fill(self.value, self.copy)
        try:
            yield
        finally:
            _fill(self.value, now)


def changed_message() -> str:
    """Return what to say where the right-hand side is no longer what it was in the solve."""
    return (
        "something that the right-hand side uses was changed between the solve and its pass back, so that gradients "
        "would be wrong (or it draws numbers that are not torch's): pass what varies in `args`, or change it after "
        "backward()"
    )


def _has_contents(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype != object)
    if not isinstance(value, Tensor) or value.requires_grad or value.is_meta:
        return False
    return value.layout == torch.strided


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


_KINDS = ("_backward_pre_hooks", "_backward_hooks")

Parts = tuple[Any, ...]


@dataclass
class Hooks:
    """The backward hooks of a right-hand side's modules, held back while its steps are pulled back.

    Attributes
    ----------
    modules
        Those that have hooks.
    """

    modules: tuple[nn.Module, ...]
    _sums: dict[tuple[int, str], list[Parts]] = field(default_factory=dict)

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> Hooks:
        """Look which of the modules have backward hooks."""
        return cls(tuple(module for module in modules if any(vars(module).get(kind) for kind in _KINDS)))

    @contextmanager
    def held_back(self, tensors: Sequence[Tensor] = ()) -> Iterator[None]:
        """Let the hooks of the modules only add up what they see, and those of ``tensors`` do nothing."""
        # Emptied, not replaced: a tensor with a graph hands this very table to the graph's node.
        hooked = [(x._backward_hooks, dict(x._backward_hooks)) for x in tensors if x._backward_hooks]
        held = [(module, kind, vars(module)[kind]) for module in self.modules for kind in _KINDS]
        for table, _ in hooked:
            table.clear()
        for module, kind, hooks in held:
            if hooks:
                vars(module)[kind] = type(hooks)({0: _Adder(self._sums.setdefault((id(module), kind), []))})
        try:
            yield
        finally:
            for table, entries in hooked:
                table.update(entries)
            for module, kind, hooks in held:
                vars(module)[kind] = hooks

    def fire(self) -> None:
        """Call each hook of a module once, with the sums over the pass back; what it returns has nowhere to go."""
        sums, self._sums = self._sums, {}
        for module in self.modules:
            for kind in _KINDS:
                seen = sums.get((id(module), kind))
                if seen:
                    for hook in vars(module)[kind].values():
                        hook(module, *seen)


@dataclass
class _Adder:
    """Stands for a module's hooks while steps are pulled back."""

    sums: list[Parts]

    def __call__(self, module: nn.Module, *gradients: Any) -> None:
        parts = [part if isinstance(part, tuple) else (part,) for part in gradients]
        self.sums[:] = [_added(*pair) for pair in zip(self.sums, parts, strict=True)] if self.sums else parts


def _added(total: Parts, part: Parts) -> Parts:
    return tuple(_sum(a, b) for a, b in zip(total, part, strict=True))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b if a.shape == b.shape else b
