"""Groups: what shares one clock. The whole state (shared steps), or one sample of a batch (per-sample steps)."""

from __future__ import annotations

from torch import Tensor

from physode.solvers.numbers import Number

__all__ = ["expand", "sized"]


def expand(values: Tensor, ndim: int) -> Tensor:
    """Shape one value a group, ``()`` or ``(batch,)``, so that it broadcasts against a state of ``ndim`` axes."""
    if values.ndim == 0:
        return values
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def sized(h: Number, y: Tensor) -> Number:
    """Return step sizes so that they multiply states: a float, or a tensor in the state's dtype."""
    return expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h
