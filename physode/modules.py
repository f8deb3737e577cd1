"""State that a right-hand side may carry: batch-norm statistics and dropout.

A right-hand side must be a function of ``(t, y)`` for a solve to make sense. So dropout's mask is drawn once a solve,
and running statistics move only with evaluations of accepted steps.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Statistics", "frozen_randomness", "modules_of", "uses_dropout"]


def modules_of(f: Callable[..., Any]) -> list[nn.Module]:
    """Return the modules that ``f`` is or calls upon, as far as can be seen without calling it.

    The module itself, or those that a method, a partial application, an object's attributes, a function's closure,
    defaults and global names refer to: ``lambda t, y: net(y)`` is as good as ``net``.
    """
    found = {id(part): part for part in _referred(f) if isinstance(part, nn.Module)}
    return list(found.values())


def _referred(f: Any) -> Iterator[Any]:
    yield f
    if isinstance(f, functools.partial):
        yield from f.args
        yield from f.keywords.values()
        yield from _referred(f.func)
        return
    if isinstance(f, types.MethodType):
        yield from _referred(f.__self__)
        yield from _referred(f.__func__)
        return
    if isinstance(f, types.FunctionType):
        yield from f.__defaults__ or ()
        yield from (f.__kwdefaults__ or {}).values()
        yield from (f.__globals__.get(name) for name in f.__code__.co_names)
        for cell in f.__closure__ or ():
            with suppress(ValueError):  # a cell that is still empty
                yield cell.cell_contents
    elif not isinstance(f, nn.Module):
        yield from getattr(f, "__dict__", {}).values()


def uses_dropout(f: Callable[..., Any]) -> bool:
    """Whether ``f`` calls upon a module with dropout at work."""
    return any(
        isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0
        for module in modules_of(f)
        for part in module.modules()
    )


@contextmanager
def frozen_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Let every evaluation inside draw the same random numbers, and leave the generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Statistics:
    """The buffers of the modules in training that ``f`` calls upon, watched so that they can be set back.

    Only modules that do change a buffer in an evaluation are ever copied: :meth:`watch` finds out by the buffers'
    version counters.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        parts = {id(part): part for module in modules_of(f) for part in module.modules() if part.training}
        self._buffers: list[Tensor] = [b for part in parts.values() for b in part.buffers(recurse=False)]
        self._versions = [buffer._version for buffer in self._buffers]

    def watch(self) -> None:
        """Call after the first evaluation: stop watching where nothing changed."""
        if all(b._version == version for b, version in zip(self._buffers, self._versions, strict=True)):
            self._buffers, self._versions = [], []

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
