"""Gradients that are exact but cannot be differentiated again, saying so when it is tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["FIRST_ORDER", "first_order_only"]

FIRST_ORDER = "derivatives of ACA's gradients need gradient=ACA(memory='graph') or gradient='naive'"


class _FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, message: str, anchor: Tensor, value: Tensor) -> Tensor:
        del anchor
        ctx.message = message
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise RuntimeError(ctx.message)


def first_order_only(gradients: Sequence[Tensor | None], message: str) -> list[Tensor | None]:
    """Return the gradients so that differentiating them raises ``RuntimeError(message)``, not a silent zero."""
    if not torch.is_grad_enabled():  # no graph of the backward pass is asked for
        return list(gradients)
    anchor = torch.zeros((), requires_grad=True)
    return [
        None if value is None else _FirstOrder.apply(message, anchor, value)  # type: ignore[no-untyped-call]
        for value in gradients
    ]
