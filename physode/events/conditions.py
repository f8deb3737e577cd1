r"""The conditions of all events as the engine calls them: packed states, float64 times, one value a group.

Times and states of events have their gradients by the implicit function theorem. With
:math:`g(t^*, y(t^*; \theta); \theta) = 0` and :math:`\dot g = \partial_t g + \partial_y g \cdot f`,

.. math::
    dt^* = - \frac{dg}{\dot g}\bigg|_{t^*\,\text{fixed}}, \qquad dy^* = dy\big|_{t^*\,\text{fixed}} + f \, dt^*

(Chen, Amos & Nickel, Learning neural event functions, ICLR 2021, Sect. 3).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.autograd import first_order_only, transformed, under_func
from physode.errors import SolveError
from physode.events.event import Event
from physode.problem.dynamics import Dynamics
from physode.solvers.clock import expand

__all__ = ["Conditions", "differentiable", "finite_groups", "of_fired", "summed"]


_SMALLEST = 1e-6  # of the largest component, and of the span: what is nearer to zero rounds like that


@dataclass(frozen=True)
class Conditions:
    """Evaluates the conditions and jumps of ``events``, with the arguments of ``dynamics``."""

    events: Sequence[Event]
    dynamics: Dynamics

    def value(self, index: int, t: Tensor, y: Tensor) -> Tensor:
        """Return the condition of one event, float64 and shaped like ``t``: one value a group."""
        returned: Any = self.events[index].condition(*self._inputs(t, y))
        one = f"one real number a sample, ({t.numel()},)" if t.ndim else "one real number"
        if not isinstance(returned, Tensor):
            returned = self._tensor(index, returned, one, y)
        if returned.dtype == torch.bool:
            raise ValueError(
                f"the condition of {self.label(index)} must return {one} that changes its sign at the event, got "
                "torch.bool; return a difference instead of a comparison"
            )
        if returned.is_complex() or returned.numel() != t.numel():
            raise ValueError(
                f"the condition of {self.label(index)} must return {one}, got {returned.dtype} of shape "
                f"{tuple(returned.shape)}"
            )
        value: Tensor = returned.reshape(t.shape).double()
        return value

    def values(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the conditions of all events, ``(events, groups)``, groups as one axis."""
        return torch.stack([self.value(index, t, y).reshape(-1) for index in range(len(self.events))])

    def check(self, values: Tensor, t: Tensor, groups: Tensor) -> None:
        """Raise where a condition is NaN."""
        bad = torch.isnan(values) & groups
        if bool(bad.any()):
            index, group = bad.nonzero()[0].tolist()
            where = f" for sample {group}" if len(groups) > 1 else ""
            raise SolveError(
                f"the condition of {self.label(index)} is NaN at t = {float(t[group]):.9g}{where}; "
                "it must be a number at every state that the solve reaches"
            )

    def slopes(self, index: int, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\partial_t g`, one value a group, and :math:`\partial_y g`, like ``y``, without a graph."""
        if under_func():
            by_t, by_y = torch.func.grad(lambda t, y: self.value(index, t, y).sum(), (0, 1))(t, y)
            return by_t, by_y
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a condition that is a plain number: it has no slope
            time, state = t.detach().requires_grad_(), y.detach().requires_grad_()
            value = self.value(index, time, state)
            gradients: Sequence[Tensor | None] = (None, None)
            if value.requires_grad:
                gradients = torch.autograd.grad(value.sum(), [time, state], allow_unused=True)
        by_t, by_y = (torch.zeros_like(x) if d is None else d for d, x in zip(gradients, (t, y), strict=True))
        return by_t, by_y

    def rates(self, index: int, t: Tensor, y: Tensor, f: Tensor) -> Tensor:
        r"""Return :math:`\dot g = \partial_t g + \partial_y g \cdot f`, one value a group, without a graph."""
        by_t, by_y = self.slopes(index, t, y)
        return by_t + summed(_product(by_y, f.detach()), t)

    def tendency(self, index: int, t: Tensor, y: Tensor, f: Tensor) -> Tensor:
        r"""Return the sign of :math:`\dot g`, 0 where it is no more than the rounding of what it is made of."""
        by_t, by_y = self.slopes(index, t, y)
        rate = by_t + summed(_product(by_y, f.detach()), t)
        rounding = self.rounding * (by_t.abs() + summed(by_y.abs() * f.detach().abs(), t))
        return torch.where(rate.abs() > rounding, torch.sign(rate), 0.0)

    def noise(self, index: int, t: Tensor, y: Tensor, slopes: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return how large a condition may be by the rounding of what it is made of alone, one value a group."""
        by_t, by_y = self.slopes(index, t, y) if slopes is None else slopes
        time = torch.maximum(t.detach().abs(), _SMALLEST * (self.dynamics.high - self.dynamics.low))
        if not y.numel():
            return self.rounding * by_t.abs() * time
        largest = (y.abs().reshape(len(y), -1).amax(1) if t.ndim else y.abs().amax()).double()
        state = torch.maximum(y.detach().abs(), expand((_SMALLEST * largest).to(y.abs().dtype), y.ndim))
        return self.rounding * (by_t.abs() * time + summed(by_y.abs() * state, t))

    @property
    def rounding(self) -> float:
        """A relative error that some operations on rounded numbers make."""
        return 16 * torch.finfo(self.dynamics.dtype).eps

    def jumped(self, index: int, t: Tensor, y: Tensor) -> Tensor:
        """Return the states behind the jump of one event."""
        jump = self.events[index].jump
        assert jump is not None
        packing = self.dynamics.packing
        returned = jump(*self._inputs(t, y))
        try:
            packed = packing.pack(returned)
            fits = packed.shape == y.shape and packed.dtype == y.dtype
        except (TypeError, KeyError, IndexError, AttributeError, RuntimeError):
            fits = False
        if not fits:
            got = (
                f"{returned.dtype} of shape {tuple(returned.shape)}"
                if isinstance(returned, Tensor)
                else type(returned).__name__
            )
            raise ValueError(f"the jump of {self.label(index)} must return a state like `y0`, got {got}")
        return packed

    def label(self, index: int) -> str:
        """Return what messages call an event."""
        name = self.events[index].name
        return f"event {index}" if name is None else f"event {name!r}"

    def _tensor(self, index: int, returned: Any, one: str, y: Tensor) -> Tensor:
        """Return a condition's value that is no tensor as one."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers in lists that have a graph: it ends here, as with float()
                value = torch.as_tensor(returned, device=y.device)
        except (TypeError, ValueError, RuntimeError):
            got = "None; is a `return` missing?" if returned is None else type(returned).__name__
            raise TypeError(f"the condition of {self.label(index)} must return {one}, got {got}") from None
        return value if value.dtype == torch.bool or value.is_complex() else value.double()

    def _inputs(self, t: Tensor, y: Tensor) -> tuple[Any, ...]:
        time = expand(t.to(self.dynamics.dtype), self.dynamics.time_ndim)
        return time, self.dynamics.packing.unpack(y), *self.dynamics.args


def summed(values: Tensor, t: Tensor) -> Tensor:
    """Return the sum of each group's values, float64; ``t`` has one value a group."""
    return (values.reshape(len(values), -1).sum(1) if t.ndim else values.sum()).double()


def finite_groups(y: Tensor, t: Tensor) -> Tensor:
    """Return which groups have a state, ``(groups,)``; others have failed, which their status tells."""
    return torch.isfinite(y).reshape(t.numel(), y.numel() // max(t.numel(), 1)).all(1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).real if b.is_complex() else a * b


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
    second = _along_itself(dynamics, t, states, f.detach())
    rate = conditions.rates(index, t, states.detach(), f.detach()).detach()
    rate = torch.where(where & (rate != 0), rate, 1.0)
    shift = torch.zeros_like(t)
    for _ in range(2):
        value = conditions.value(index, *along(shift))
        shift = shift - torch.where(where, (value - value.detach()) / rate, 0.0)
    t_event, y_event = along(shift)
    wide = expand(where, y.ndim)
    return torch.where(where, t_event, t), torch.where(wide, y_event, y)


def _along_itself(dynamics: Dynamics, t: Tensor, y: Tensor, f: Tensor) -> Tensor:
    r"""Return :math:`\dot f = \partial_t f + \partial_y f \cdot f`, a constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch loads for it
        if under_func() or not transformed():
            along: Tensor = torch.func.jvp(dynamics, (t, y), (torch.ones_like(t), f))[1]
            return along.detach()
    # Forward mode does not nest: a pull-back is linear in its cotangent, and the pull-back of that is this derivative.
    with torch.enable_grad():
        place = t.detach().requires_grad_(), y.detach().requires_grad_()
        cotangent = torch.zeros_like(f).requires_grad_()
        value = dynamics(*place)
        if not value.requires_grad:
            return torch.zeros_like(f)
        pulled = torch.autograd.grad(value, place, cotangent, create_graph=True, allow_unused=True)
        pairs = [(p, d) for p, d in zip(pulled, (torch.ones_like(t), f), strict=True) if p is not None]
        pairs = [(p, d.detach()) for p, d in pairs if p.requires_grad]
        if not pairs:
            return torch.zeros_like(f)
        values, directions = zip(*pairs, strict=True)
        (along,) = torch.autograd.grad(values, cotangent, directions)
    return along.detach()


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
