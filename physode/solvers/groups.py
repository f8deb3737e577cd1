"""Groups: what shares one clock. The whole state (shared steps), or one sample of a batch (per-sample steps)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["expand"]


def expand(values: Tensor, ndim: int) -> Tensor:
    """Shape one value a group, ``()`` or ``(batch,)``, so that it broadcasts against a state of ``ndim`` axes."""
    if values.ndim == 0:
        return values
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))
