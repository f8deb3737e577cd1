"""Solves under ``torch.func``'s transforms and in forward mode: what decides steps is taken from behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = [
    "forward_over_forward",
    "is_differentiated",
    "is_mapped",
    "plain",
    "refuse_forward_over_forward",
    "to_keep",
    "transformed",
    "under_func",
]

_functorch = torch._C._functorch


def transformed() -> bool:
    """Whether a transform of ``torch.func``, or forward mode, is at work."""
    return under_func() or forward_ad._current_level >= 0


def under_func() -> bool:
    """Whether a transform of ``torch.func`` is at work."""
    return _functorch.peek_interpreter_stack() is not None


def forward_over_forward() -> bool:
    """Whether forward mode is differentiated in forward mode, which torch's custom functions silently get wrong."""
    levels = _functorch.get_interpreter_stack() or ()
    return sum(level.key() == _functorch.TransformType.Jvp for level in levels) > 1


def refuse_forward_over_forward(what: str) -> None:
    """Raise where forward mode is differentiated in forward mode.

    Raises
    ------
    RuntimeError
        Which names the way to the same derivative.
    """
    if forward_over_forward():
        raise RuntimeError(
            f"torch gets forward mode over forward mode wrong through {what}: write "
            "torch.func.jacfwd(torch.func.jacrev(...)) in place of jacfwd(jacfwd(...))"
        )


@contextmanager
def to_keep() -> Iterator[None]:
    """Make tensors that serve later gradients and outlive a transform, which wraps whatever is made under it."""
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        yield


def plain(x: Tensor) -> Tensor:
    """Return the values behind all transforms, as a constant; mapped axes of ``vmap`` show as further axes."""
    while _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x.detach()


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
