r"""Gradients of an event's time and state by the implicit function theorem.

With :math:`g(t^*, y(t^*; \theta); \theta) = 0` and :math:`\dot g = \partial_t g + \partial_y g \cdot f`,

.. math::
    dt^* = - \frac{dg}{\dot g}\bigg|_{t^*\,\text{fixed}}, \qquad dy^* = dy\big|_{t^*\,\text{fixed}} + f \, dt^*

(Chen, Amos & Nickel, Learning neural event functions, ICLR 2021, Sect. 3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.gradients.first_order import first_order_only
from physode.solvers.clock import expand

__all__ = ["differentiable", "of_fired"]


def of_fired(where: Tensor, y: Tensor) -> Tensor:
    """Return the states where an event fired, and in other groups that of one where it did, a constant.

    A group that has failed has NaN for a state: times a cotangent of 0, it would spoil the gradients of what the
    groups share.
    """
    if where.ndim == 0 or bool(where.all()):
        return y
    good = int(where.nonzero()[0])
    return torch.where(expand(where, y.ndim), y, y[good : good + 1].detach())


def differentiable(
    conditions: Conditions, index: int, t: Tensor, y: Tensor, where: Tensor, *, any_order: bool = False
) -> tuple[Tensor, Tensor]:
    """Return an event's times and states with their gradients.

    Parameters
    ----------
    index
        Which event.
    t
        Its times, constants, one a group.
    y
        The states there, with their gradients at constant times.
    where
        The groups in which the event fired, at least one; others keep ``t`` and ``y``.
    """
    if not torch.is_grad_enabled():
        return t, y
    states = of_fired(where, y)
    value = conditions.value(index, t, states)
    if not value.requires_grad:
        return t, y
    with torch.no_grad():
        f = conditions.dynamics(t, states.detach())
    rate = conditions.rates(index, t, states, f)
    shift = _Shift.apply(torch.where(where, value, 0.0), torch.where(where, rate, 1.0))  # type: ignore[no-untyped-call]
    return t + shift, y + expand(shift.to(y.dtype), y.ndim) * torch.where(expand(where, y.ndim), f, 0.0)


class _Shift(torch.autograd.Function):
    """Zero, with the derivative -1 / rate with respect to the condition's value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rate: Tensor) -> Tensor:
        ctx.save_for_backward(value, rate)
        return torch.zeros_like(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        rate = ctx.saved_tensors[1]
        # Where nothing is asked for, nothing comes back: also where an event grazes zero and has no derivative.
        back = torch.where(cotangents[0] == 0, 0.0, -cotangents[0] / rate)
        message = "second derivatives of an event's time and state are not computed: only first ones are exact"
        return *first_order_only([back], [*ctx.saved_tensors, *cotangents], message), None
