"""Values whose first derivative is right and whose second would not be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["first_derivative_only"]


_NO_SECOND = "second derivatives through implicit Runge-Kutta methods are not computed; method='rodas5p' has them"


class _Refusing(torch.autograd.Function):
    """The identity; its derivative, with respect to the cotangent or to what it belongs to, raises."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cotangent: Tensor, value: Tensor) -> Tensor:
        return cotangent.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise RuntimeError(_NO_SECOND)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(_NO_SECOND)


class _Once(torch.autograd.Function):
    """The identity; its derivative is the identity once."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return _Refusing.apply(cotangents[0], *ctx.saved_tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Any:
        return _Refusing.apply(tangents[0], *ctx.saved_tensors)  # type: ignore[no-untyped-call]


def first_derivative_only(value: Tensor) -> Tensor:
    """Return the value so that differentiating it twice raises ``RuntimeError``."""
    return _Once.apply(value)  # type: ignore[no-untyped-call, no-any-return]
