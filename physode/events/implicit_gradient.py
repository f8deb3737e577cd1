r"""Gradients of an event's time and state by the implicit function theorem.

With :math:`g(t^*, y(t^*; \theta); \theta) = 0` and :math:`\dot g = \partial_t g + \partial_y g \cdot f`,

.. math::
    dt^* = - \frac{dg}{\dot g}\bigg|_{t^*\,\text{fixed}}, \qquad dy^* = dy\big|_{t^*\,\text{fixed}} + f \, dt^*

(Chen, Amos & Nickel, Learning neural event functions, ICLR 2021, Sect. 3).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.gradients.first_order import first_order_only
from physode.solvers.clock import expand
from physode.transforms import transformed

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
    if not (torch.is_grad_enabled() or transformed()):
        return t, y
    states = of_fired(where, y)
    value = conditions.value(index, t, states)
    if transformed():
        return _by_newton(conditions, index, t, y, where)
    if not value.requires_grad:
        return t, y
    if any_order:
        return _by_newton(conditions, index, t, y, where)
    with torch.no_grad():
        f = conditions.dynamics(t, states.detach())
    rate = conditions.rates(index, t, states, f)
    shift = _Shift.apply(torch.where(where, value, 0.0), torch.where(where, rate, 1.0))  # type: ignore[no-untyped-call]
    return t + shift, y + expand(shift.to(y.dtype), y.ndim) * torch.where(expand(where, y.ndim), f, 0.0)


def _by_newton(conditions: Conditions, index: int, t: Tensor, y: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the same by plain operations, whose first and second derivatives are those of the event.

    From the root :math:`t_0`, two steps of Newton's method along the solution's parabola
    :math:`y(t_0 + \delta) = y + \delta f + \delta^2 \dot f / 2` change no value; the first makes the first derivative
    exact, the second the second one.
    """
    states = of_fired(where, y)
    dynamics = conditions.dynamics

    def along(shift: Tensor) -> tuple[Tensor, Tensor]:
        wide = expand(shift.to(y.dtype), y.ndim)
        return t + shift, states + wide * (f + 0.5 * wide * second)

    f = dynamics(t, states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch loads for it
        second = torch.func.jvp(dynamics, (t, states), (torch.ones_like(t), f.detach()))[1].detach()
    rate = conditions.rates(index, t, states.detach(), f.detach()).detach()
    rate = torch.where(where & (rate != 0), rate, 1.0)
    shift = torch.zeros_like(t)
    for _ in range(2):
        value = conditions.value(index, *along(shift))
        shift = shift - torch.where(where, (value - value.detach()) / rate, 0.0)
    t_event, y_event = along(shift)
    wide = expand(where, y.ndim)
    return torch.where(where, t_event, t), torch.where(wide, y_event, y)


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
        message = "derivatives of an event's gradients need gradient=ACA(memory='graph') or gradient='naive'"
        return *first_order_only([back], [*ctx.saved_tensors, *cotangents], message), None
