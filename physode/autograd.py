"""Where solves meet torch's differentiation.

Under ``torch.func``'s transforms and in forward mode, what decides steps is taken from behind the wrappers. Passes back
take batches of cotangents, say where their gradients cannot be differentiated, and hold a solve as long as its outputs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

__all__ = [
    "FIRST_ORDER",
    "collected",
    "first_order_only",
    "forward_over_forward",
    "held",
    "is_differentiated",
    "is_mapped",
    "one_by_one",
    "plain",
    "reference",
    "refuse_forward_over_forward",
    "severed",
    "to_keep",
    "transformed",
    "under_func",
    "with_graph",
]


_P = TypeVar("_P")
_T = TypeVar("_T")

_functorch = torch._C._functorch
FIRST_ORDER = "derivatives of ACA's gradients need gradient=ACA(memory='graph') or gradient='naive'"
_DEEPEST = 8  # batches within batches


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


def with_graph(compute: Callable[[], _T]) -> _T:
    """Return what ``compute`` computes while operations are recorded.

    Under ``torch.inference_mode()``, or where tensors made there take part, they are recorded outside of it, on copies
    of those tensors, which autograd refuses to save.
    """
    if not torch.is_inference_mode_enabled():
        try:
            with torch.enable_grad():
                return compute()
        except RuntimeError as error:
            if "nference tensor" not in str(error):
                raise
    with torch.inference_mode(False), torch.enable_grad(), _Copies():
        return compute()


class _Copies(TorchFunctionMode):
    """Puts a copy in place of each tensor made in inference mode, the same one at each of its uses."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.is_inference, Tensor.clone):
            return func(*args, **(kwargs or {}))
        return func(*tree_map(self._normal, args), **tree_map(self._normal, kwargs or {}))

    def _normal(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_inference():
            return x
        if id(x) not in self._copies:
            self._copies[id(x)] = x, x.detach().clone()
        return self._copies[id(x)][1]


class _FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, message: str, value: Tensor, *sources: Tensor) -> Tensor:
        ctx.message = message
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise RuntimeError(ctx.message)


def first_order_only(
    gradients: Sequence[Tensor | None], sources: Sequence[Tensor | None], message: str
) -> list[Tensor | None]:
    """Return the gradients so that differentiating them raises ``RuntimeError(message)``, not a silent zero.

    ``sources``: what they depend on. Whichever of these a derivative is asked for, the error lies on the way.
    """
    if not torch.is_grad_enabled():  # no graph of the backward pass is asked for
        return list(gradients)
    asking = [source for source in sources if source is not None and source.requires_grad]
    if not asking:
        return list(gradients)
    return [
        None if value is None else _FirstOrder.apply(message, value, *asking)  # type: ignore[no-untyped-call]
        for value in gradients
    ]


@dataclass
class _Gate:
    open: bool = False


class _Severed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: _Gate, value: Tensor) -> Tensor:
        ctx.gate = gate
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return None, cotangents[0] if ctx.gate.open else None


@contextmanager
def severed(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Give tensors at which passes back end for as long as this lasts, and which they go through afterwards.

    For a pass back within a pass back, which is to be differentiated in turn: what one of the ``tensors`` depends on
    may be another one, whose gradient would count what comes through the first, too.
    """
    gate = _Gate()
    yield [_Severed.apply(gate, x) if x.requires_grad else x for x in tensors]  # type: ignore[no-untyped-call]
    gate.open = True


def one_by_one(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a pass back take batches of cotangents, as of ``is_grads_batched=True``: one after another."""

    @wraps(backward)
    def over_batch(ctx: Any, *cotangents: Tensor | None) -> Any:
        levels = [level for level in map(_level, cotangents) if level]
        if not levels:
            return backward(ctx, *cotangents)
        level = max(levels)
        batches = [None if x is None else torch._remove_batch_dim(x, level, 0, 0) for x in cotangents]
        size = max(len(batch) for batch in batches if batch is not None)
        results: list[Any] = []
        with _outside():
            for i in range(size):
                rows = [
                    batch[i] if batch is not None and len(batch) else x
                    for x, batch in zip(cotangents, batches, strict=True)
                ]
                results.append(over_batch(ctx, *rows))
        return tuple(_batch(parts, level) for parts in zip(*results, strict=True))

    return over_batch


def _level(x: Tensor | None) -> int:
    """Return at which level of ``is_grads_batched`` a tensor stands for a batch; 0 for none."""
    if x is None or not torch._C._functorch.is_legacy_batchedtensor(x):
        return 0
    return next(level for level in range(_DEEPEST, 0, -1) if len(torch._remove_batch_dim(x, level, 0, 0)))


@contextmanager
def _outside() -> Iterator[None]:
    """Leave the batch for as long as this lasts: it would allow no random numbers."""
    depth = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    for _ in range(depth):
        torch._C._vmapmode_decrement_nesting()
    try:
        yield
    finally:
        for _ in range(depth):
            torch._C._vmapmode_increment_nesting()


def _batch(parts: Sequence[Tensor | None], level: int) -> Tensor | None:
    if parts[0] is None:
        return None
    batch: Tensor = torch._add_batch_dim(torch.stack(list(parts)), 0, level)  # type: ignore[arg-type]
    return batch


# How long a solve is kept. The graph of a solution must hold the right-hand side, for its steps are replayed. A module
# that keeps a solution of its own then closes a circle. Python's collector sees it only where each of its links is a
# Python object: so the graph's inner nodes refer to a solve weakly, and what a user gets is the output of a last node,
# the identity, that holds it.

_plans: ContextVar[list[object] | None] = ContextVar("plans", default=None)


@contextmanager
def collected() -> Iterator[list[object]]:
    """Give the list of all that passes back of the solves in here need, to be :func:`held` by their outputs."""
    plans: list[object] = []
    token = _plans.set(plans)
    try:
        yield plans
    finally:
        _plans.reset(token)


def reference(plan: _P) -> Callable[[], _P | None]:
    """Return a reference to what a pass back needs: a weak one where it is collected, to be held by the outputs."""
    plans = _plans.get()
    if plans is None:
        return lambda: plan
    plans.append(plan)
    return weakref.ref(plan)


class _Held(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plans: Sequence[object], box: list[Tensor], outputs: Tensor) -> Tensor:
        ctx.plans = plans
        return box.pop()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (ahead,) = cotangents
        if torch.is_grad_enabled() and not _level(ahead):  # gradients may be differentiated when the outputs are gone
            ahead = _Carried.apply(ctx.plans, ahead, torch.zeros((), requires_grad=True))  # type: ignore[no-untyped-call]
        return None, None, ahead


class _Carried(torch.autograd.Function):
    """The identity of cotangents: what is computed from them in a pass back holds ``plans``."""

    @staticmethod
    def forward(ctx: Any, plans: Sequence[object], ahead: Tensor, anchor: Tensor) -> Tensor:
        ctx.plans = plans
        return ahead.view_as(ahead)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return None, cotangents[0], None


def held(outputs: Tensor, plans: Sequence[object]) -> Tensor:
    """Return the outputs, which hold ``plans`` as long as they or anything computed from them may be differentiated."""
    if not (plans and outputs.requires_grad and outputs.grad_fn is not None):
        return outputs
    return _Held.apply(plans, [outputs.detach()], outputs)  # type: ignore[no-any-return, no-untyped-call]
