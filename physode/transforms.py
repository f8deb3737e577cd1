"""Solves under ``torch.func``'s transforms and in forward mode: what decides steps is taken from behind them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["is_differentiated", "is_mapped", "plain", "transformed", "unwrapped"]

_functorch = torch._C._functorch


def transformed() -> bool:
    """Whether a transform of ``torch.func``, or forward mode, is at work."""
    return _functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def plain(x: Tensor) -> Tensor:
    """Return the values behind all transforms, as a constant; mapped axes of ``vmap`` show as further axes."""
    return unwrapped(x).detach()


def unwrapped(x: Tensor) -> Tensor:
    """Return the tensor behind all transforms itself: what is made under them and remembered must outlive them."""
    while _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x


def is_mapped(x: Tensor) -> bool:
    """Whether ``vmap`` maps over an axis of ``x``."""
    while _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_batchedtensor(x):
            return True
        x = _functorch.get_unwrapped(x)
    return False


def is_differentiated(x: Tensor) -> bool:
    """Whether ``x`` carries derivatives: a graph or a tangent, of torch's own or of some transform around it."""
    while not (x.requires_grad or _has_tangent(x)):
        if not _functorch.is_functorch_wrapped_tensor(x):
            return False
        x = _functorch.get_unwrapped(x)  # a transform wraps every tensor made under it
    return True


def _has_tangent(x: Tensor) -> bool:
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x, level=0).tangent is not None  # type: ignore[no-untyped-call]
