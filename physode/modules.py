"""State that a right-hand side may carry: batch-norm statistics and dropout.

A right-hand side must be a function of ``(t, y)`` for a solve to make sense. So dropout's mask is drawn once a solve,
and running statistics move only with evaluations of accepted steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Statistics", "frozen_randomness", "module_of", "uses_dropout"]


def module_of(f: Callable[..., Any]) -> nn.Module | None:
    """Return the module that ``f`` is, is bound to, or partially applies; None for a plain function."""
    while isinstance(f, functools.partial):
        f = f.func
    owner = getattr(f, "__self__", f)
    return owner if isinstance(owner, nn.Module) else None


def uses_dropout(f: Callable[..., Any]) -> bool:
    """Whether ``f`` is a module with dropout at work."""
    module = module_of(f)
    return module is not None and any(
        isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0 for part in module.modules()
    )


@contextmanager
def frozen_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Let every evaluation inside draw the same random numbers, and leave the generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Statistics:
    """The buffers of a module in training, watched so that they can be set back.

    Only modules that do change a buffer in an evaluation are ever copied: :meth:`watch` finds out by the buffers'
    version counters.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        module = module_of(f)
        parts = [] if module is None else [part for part in module.modules() if part.training]
        self._buffers: list[Tensor] = [buffer for part in parts for buffer in part.buffers(recurse=False)]
        self._versions = [buffer._version for buffer in self._buffers]

    def watch(self) -> None:
        """Call after the first evaluation: stop watching where nothing changed."""
        if all(b._version == version for b, version in zip(self._buffers, self._versions, strict=True)):
            self._buffers = []

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
