"""Solves of torchdiffeq's by the engine: to their output times, from stop to stop, or until an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from physode.autograd import transformed
from physode.compat.arguments import Asked
from physode.compat.stepping import EVENT_STEPS, InvalidArgument, SolveAssertionError
from physode.errors import SolveError
from physode.events.conditions import Conditions
from physode.events.event import Event, Events, Found
from physode.events.rounds import solve_with_events
from physode.gradients import GradientMethod
from physode.gradients.naive import Empty, Transformed
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.status import Status

__all__ = ["check_event_graph", "outcome_of", "solved", "solved_until"]

_NEAR = 1e-2  # and relative to the time: how far from a solve's end its event may be


def solved(asked: Asked, gradient: GradientMethod) -> Any:
    """Solve, and return the states at the output times, in the structure of ``y0``: of a single one, the initial state.

    Raises
    ------
    SolveError
        If the solve ends early; it is an ``AssertionError`` too, as torchdiffeq's is.
    """
    problem = asked.problem
    outputs = problem.y0[None] if len(problem.t) == 1 else outcome_of(asked, gradient).outputs
    return asked.packing.unpack(outputs, leading=1)


def outcome_of(asked: Asked, gradient: GradientMethod) -> Outcome:
    """Solve to the last output time; raise as :func:`solved` does."""
    outcome = _found(asked, gradient, ()).outcome
    if outcome.record.status != Status.SUCCESS:
        raise _failure(asked.problem, outcome)
    return outcome


def solved_until(asked: Asked, gradient: GradientMethod, event_fn: Callable[..., Tensor]) -> tuple[Tensor, Any]:
    """Solve until the event function, or the first of its values, changes its sign.

    Returns
    -------
    event_time
        0-dimensional float64, with its gradient.
    states
        The states at the first time and at the event, ``(2, *y0.shape)`` in the structure of ``y0``.
    """
    problem, packing = asked.problem, asked.packing
    start, begin = problem.t[0], packing.components(problem.y0)
    if not callable(event_fn):
        raise InvalidArgument(f"`event_fn` must be callable as event_fn(t, y), got {type(event_fn).__name__}")
    given = event_fn if asked.shift is None else _shifted(event_fn, asked.shift)
    condition = _combined(given, problem)
    if condition is None:
        return start.detach(), packing.like([torch.stack([part, part]) for part in begin])
    event = Event(condition, terminal=True, direction=-1, name="event_fn")
    outcome, events = _found(asked, gradient, (event,))
    if outcome.record.status != Status.EVENT:
        raise _failure(problem, outcome, event=True)
    state = packing.pack(packing.like([part[0] for part in packing.parts(events[0].y)]))
    event_time, state = _onto_surface(Conditions((event,), problem.dynamics), events[0].t[0], state)
    event_time = event_time if asked.shift is None else event_time + asked.shift
    end = packing.components(state)
    return event_time, packing.like([torch.stack(pair) for pair in zip(begin, end, strict=True)])


def _found(asked: Asked, gradient: GradientMethod, events: tuple[Event, ...]) -> Found:
    problem, plan = asked.problem, asked.plan
    if not problem.y0.numel():
        gradient = Empty()
    elif transformed():
        gradient = Transformed()
    try:
        if events or len(asked.stops):
            return solve_with_events(problem, plan, gradient, events, asked.stops.sort().values)
        return Found(gradient.solve(problem, plan), Events())
    except SolveError as error:
        partial = error.solution.outcome if isinstance(error.solution, Found) else error.solution
        if isinstance(partial, Outcome):
            raise _failure(problem, partial, event=bool(events)) from None
        raise SolveAssertionError(str(error)) from None


def _failure(problem: Problem, outcome: Outcome, *, event: bool = False) -> SolveAssertionError:
    status, ended = Status(int(outcome.record.status)), float(outcome.record.ended)
    steps = EVENT_STEPS if problem.steps is None else problem.steps.max_steps
    if event and status in (Status.SUCCESS, Status.MAX_STEPS):
        return SolveAssertionError(
            f"`event_fn` does not cross zero between t = {float(problem.t[0]):g} and {ended:g}, within {steps} steps: "
            "it may never do; else raise options['max_num_steps'], or options['step_size'] of fixed steps"
        )
    words = {
        Status.MAX_STEPS: f"max_num_steps exceeded ({steps})",
        Status.STEP_UNDERFLOW: "underflow in dt",
        Status.NON_FINITE: "non-finite values in state `y`",
    }
    return SolveAssertionError(f"{words.get(status, 'stopped')}: the solve stopped at t = {ended:.9g}; {status.reason}")


def _combined(event_fn: Callable[..., Tensor], problem: Problem) -> Callable[[Tensor, Any], Tensor] | None:
    """Return one event function: the smallest of several, each made positive right behind the start.

    An event is what is met on the way: one that is zero at the start has the sign that it takes there. None if one is
    zero at the start and stays so.

    Raises
    ------
    ValueError
        If ``event_fn`` returns no real numbers.
    """
    dynamics, t0, y0 = problem.dynamics, problem.t[0].detach(), problem.y0.detach()
    with torch.no_grad(), problem.statistics.preserved():
        eps = torch.finfo(dynamics.dtype).eps
        near = eps**0.4 * (1.0 + float(t0.abs()))
        size = torch.sign(problem.t[1] - t0) * near
        behind = y0 + size.to(dynamics.dtype) * dynamics(t0, y0)
        first, second = (
            _value(event_fn, t.to(dynamics.dtype), dynamics.packing.unpack(y))
            for t, y in ((t0, y0), (t0 + size, behind))
        )
        if bool(torch.isnan(first).any()):
            raise InvalidArgument(f"`event_fn` must return a number, got NaN at t = {float(t0):g}")
        rounding = 64 * eps / near * (1.0 + float(t0.abs())) * (second - first).abs()
        signs = torch.sign(torch.where(first.abs() <= rounding, second, first))
    if bool((signs == 0).any()):
        return None
    return lambda t, y: torch.min(_value(event_fn, t, y) * signs)


def _onto_surface(conditions: Conditions, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the time and state where the event function is zero near ``(t, y)``, along the flow.

    A solve that ends at an event's time has a state within the tolerance of the surface, not on it.
    """
    for _ in range(2):
        with torch.no_grad():
            velocity = conditions.dynamics(t, y)
            delay = -conditions.value(0, t, y) / conditions.rates(0, t, y, velocity)
            delay = torch.where(torch.isfinite(delay) & (delay.abs() < _NEAR * (1.0 + t.abs())), delay, 0.0)
        t, y = t + delay, y + delay.to(y.dtype) * velocity
    return t, y


def _shifted(event_fn: Callable[..., Tensor], shift: Tensor) -> Callable[..., Tensor]:
    return lambda t, y: event_fn(t + shift.to(t), y)


def _value(event_fn: Callable[..., Tensor], t: Tensor, y: Any) -> Tensor:
    found = event_fn(t, y)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise InvalidArgument(
            f"`event_fn` must return a real tensor that changes its sign at the event, got {kind}; "
            "write y[0] - level, not y[0] > level"
        )
    return found


def check_event_graph(event_fn: Callable[..., Tensor], t: Tensor, y0: Any) -> None:
    """Raise where an event's time would have no gradient, which the implicit function theorem gives it.

    Raises
    ------
    ValueError
        If the value of ``event_fn`` has no graph.
    """

    def tracked(x: Tensor) -> Tensor:
        return x.detach().requires_grad_()

    if not torch.is_grad_enabled() or transformed():
        return
    state = tracked(y0) if isinstance(y0, Tensor) else tuple(tracked(part) for part in y0)
    first = y0 if isinstance(y0, Tensor) else y0[0]
    if not _value(event_fn, tracked(t.to(first.real.dtype)), state).requires_grad:
        raise InvalidArgument(
            "`event_fn` must depend on `t` or `y` by differentiable operations of torch: its value has no "
            "graph, as after .item(), .detach() or numpy"
        )
