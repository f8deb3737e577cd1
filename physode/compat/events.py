"""Solves that end where an event function crosses zero, and the gradient of when and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from physode.compat.adams import hermite
from physode.compat.adaptive import integrate_adaptive
from physode.compat.errors import InvalidArgument, SolveAssertionError
from physode.compat.fixed import start_history, walk_grid_over
from physode.compat.observers import EventWatch
from physode.compat.setup import Setup, just_behind
from physode.compat.solving import interpolation
from physode.events.root_finding import refine
from physode.solvers.grid import grid_of_times
from physode.solvers.interpolation import Location, interpolate
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["implicit_event", "solve_until_event"]

_HORIZON = 2.0**40  # how far an event is looked for
_MAX_FIXED_STEPS = 20_000
_CHUNK = 100  # fixed steps between looks at their number
_RESOLUTION = 4 * torch.finfo(torch.float64).eps
_TINY = torch.finfo(torch.float64).tiny  # zero counts as passed


def solve_until_event(setup: Setup) -> tuple[Tensor, Tensor]:
    """Solve until the event function changes its sign.

    Returns
    -------
    event_time
        0-dimensional float64, a constant.
    outputs
        The states at the first time and at the event, packed, ``(2, *state)``, with their graph.
    """
    assert setup.event is not None
    adaptive = setup.method.kind == "adaptive"
    watch = EventWatch(setup.event, torch.float64 if adaptive else setup.flow.dtype, setup.callbacks)
    t0 = setup.t[0]
    if setup.method.kind == "scipy":
        raise InvalidArgument("method='scipy_solver' finds no events; use another method")
    value = watch.value(t0, setup.y0)
    if value < 0.0 or (value == 0.0 and not watch.value(*just_behind(setup.flow, t0, setup.y0, setup.direction)) > 0.0):
        return t0.detach(), torch.stack([setup.y0, setup.y0])
    horizon = t0.detach() + setup.direction * _HORIZON
    ends = torch.stack([t0.detach(), horizon])
    setup.flow.low, setup.flow.high = ends.amin(), ends.amax()
    if adaptive:
        record = integrate_adaptive(setup, horizon, wanted=SavePolicy([]), observer=watch)
    else:
        record = _march_until(setup, watch)
    if not watch.found:
        raise SolveAssertionError(f"no event between t = {float(t0.detach()):g} and {float(horizon):g}")
    return _locate(setup, watch, record)


def _march_until(setup: Setup, watch: EventWatch) -> Trace:
    """Take fixed steps until the event."""
    size = setup.options.get("step_size")
    if size is None:
        raise InvalidArgument("events with fixed steps need options={'step_size': ...}")
    history, y = start_history(setup), setup.y0
    for first in range(0, _MAX_FIXED_STEPS, _CHUNK):
        counts = torch.arange(first, first + _CHUNK + 1, dtype=torch.float64, device=y.device)
        grid = grid_of_times(setup.t[0] + setup.direction * float(size) * counts)
        record = walk_grid_over(setup, grid, y, history, wanted=SavePolicy([]), observer=watch)
        if watch.found:
            return record
        y = record.nodes[-1]
    raise RuntimeError(f"Reached maximum number of iterations {_MAX_FIXED_STEPS}: no event; raise `step_size`")


def _locate(setup: Setup, watch: EventWatch, record: Trace) -> tuple[Tensor, Tensor]:
    """Find the crossing on the last step's interpolant."""
    (t, h, end), y, y_end = _last(record), record.nodes[-2], record.nodes[-1]
    coefficients = _interpolant(setup, record)

    def state(time: Tensor) -> Tensor:
        location = Location(torch.zeros(1, dtype=torch.long, device=y.device), ((time - t) / h)[None])
        return interpolate(location, y[None], coefficients[None], y_end[None])[0]

    with torch.no_grad():
        span = float(t.detach()), float(end.detach())
        found = _crossing(lambda time: watch.value(t.new_tensor(time), state(t.new_tensor(time))), *span)
    event_time = t.detach().new_tensor(found)
    return event_time, torch.stack([setup.y0, state(event_time)])


def _interpolant(setup: Setup, record: Trace) -> Tensor:
    """Return the last step's interpolant: the method's own, or on a grid what ``interp`` asks for."""
    (t, h, end), y, y_end = _last(record), record.nodes[-2], record.nodes[-1]
    kind = interpolation(setup)
    if kind == "linear":
        return (y_end - y)[None]
    if kind == "cubic":
        return hermite(h, y, y_end, setup.flow(t, y), setup.flow(end, y_end))
    step = take_step(setup.flow, setup.method.tableau, t, y, h)
    return interpolant(setup.flow, setup.method.tableau, t, y, h, step, end_derivative(setup.flow, t, h, step))


def _last(record: Trace) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last step's start, size and end."""
    return cast("tuple[Tensor, Tensor, Tensor]", (record.starts[-1], record.sizes[-1], record.ends[-1]))


def _crossing(value: Callable[[float], float], start: float, end: float) -> float:
    """Return the last time known before the change from positive values to others: what is sought backwards from it."""
    size = start - end
    low, high = (torch.full((1,), place, dtype=torch.float64) for place in (0.0, 1.0))

    def at(theta: Tensor) -> Tensor:
        return theta.new_tensor([value(end + float(theta) * size) or -_TINY])

    width = torch.full((1,), _RESOLUTION * max(abs(start), abs(end)) / abs(size), dtype=torch.float64)
    negative, wanted = -torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.bool)
    return end + float(refine(at, low, high, at(low), at(high), negative, wanted, width)) * size


def implicit_event(
    event: Callable[[Tensor, Tensor], Tensor],
    flow: Callable[[Tensor, Tensor], Tensor],
    event_time: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Give an event's time and state the gradients that the implicit function theorem gives them.

    With :math:`c(t, y) = 0` at the event, :math:`\dot c = \partial_t c + \partial_y c \cdot f`, and :math:`y(t^*)` the
    state at the constant time :math:`t^*`,

    .. math::
        d t_e = - \frac{d c(t^*, y(t^*))}{\dot c}, \qquad d y_e = d y(t^*) + f \, d t_e

    (Chen, Amos & Nickel 2021, Learning neural event functions, Sect. 3). Parameters of ``event`` get gradients, too.
    """
    t = event_time.detach()
    with torch.enable_grad():
        time, y = t.clone().requires_grad_(), state.detach().clone().requires_grad_()
        found = event(time, y)
        if not found.requires_grad:
            raise InvalidArgument(
                "`event_fn` must depend on `t` or `y` by differentiable operations of torch: its value has no "
                "graph, as after .item(), .detach() or numpy"
            )
        by_time, by_state = torch.autograd.grad(found, [time, y], allow_unused=True)
    with torch.no_grad():
        velocity = flow(t.double(), state)
        slope = torch.zeros_like(t) if by_time is None else by_time
        if by_state is not None:
            product = by_state.conj() * velocity if by_state.is_complex() else by_state * velocity
            slope = slope + (product.real if product.is_complex() else product).sum()
        slope = slope + torch.where(slope == 0, 1e-12, 0.0)
    value = event(t, state)
    moved = t - (value - value.detach()) / slope
    return moved.to(t.dtype), state + velocity * (moved - t).to(velocity.dtype)
