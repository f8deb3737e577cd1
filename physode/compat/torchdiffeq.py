"""torchdiffeq 0.2.5's interface: ``import physode.compat.torchdiffeq as torchdiffeq``.

Every method name and option of torchdiffeq's, the implicit methods that followed that version, and tsit5, on this
engine. What differs, on purpose: steps end exactly at the last time instead of beyond it; dopri8 is DOP853 with its own
interpolant; Adams methods allow for unequal steps; step sizes count as constants in gradients; the clock is always in
double precision (the option ``dtype`` changes nothing); events are found to the clock's resolution, in 20,000 steps at
most unless ``max_num_steps`` says otherwise, and their gradients, which :func:`odeint` gives too, reach the event
function's parameters; what is not finite ends a solve with fixed steps as well. Gradients of :func:`odeint` go through
every accepted step's graph, so that they can be differentiated again; :func:`physode.solve` with ``gradient="aca"``
gives the same with less memory and in less time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from physode.compat.adjoint import odeint_adjoint
from physode.compat.arguments import asked_of
from physode.compat.solving import check_event_graph, outcome_of, solved, solved_until
from physode.compat.stepping import Choice, InvalidArgument, refusals
from physode.gradients import Naive

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]

__version__ = "0.2.5"  # of the interface


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[..., Tensor] | None = None,
) -> Any:
    r"""Solve :math:`dy/dt = f(t, y)`, :math:`y(t_0) = y_0`; gradients go through the solver's operations.

    Parameters
    ----------
    func
        The right-hand side, ``func(t, y)``. Attributes ``callback_step``, ``callback_accept_step`` and
        ``callback_reject_step`` are called with ``(t0, y0, dt)``.
    y0
        A tensor, or a tuple of tensors.
    t
        Output times, strictly rising or falling; the first is the initial time. With ``event_fn``, two: a start and a
        direction.
    rtol, atol
        Tolerances: a number, one a component, or for a tuple ``y0`` one a part.
    method
        ``"dopri5"`` (default), ``"dopri8"``, ``"tsit5"``, ``"bosh3"``, ``"fehlberg2"``, ``"adaptive_heun"``,
        ``"euler"``, ``"midpoint"``, ``"heun2"``, ``"heun3"``, ``"rk4"`` (the 3/8 rule), ``"explicit_adams"``,
        ``"implicit_adams"``, ``"implicit_euler"``, ``"implicit_midpoint"``, ``"trapezoid"``, ``"sdirk2"``,
        ``"trbdf2"``, ``"radauIIA3"``, ``"radauIIA5"``, ``"gl4"``, ``"gl6"``, ``"scipy_solver"``.
    options
        Adaptive: ``norm``, ``first_step``, ``min_step``, ``max_step``, ``max_num_steps``, ``safety``, ``ifactor``,
        ``dfactor``, ``step_t``, ``jump_t``. Fixed: ``step_size`` or ``grid_constructor``, ``interp`` (``"linear"`` or
        ``"cubic"``), ``perturb``; Adams also ``max_order``, ``max_iters``. SciPy: ``solver``, ``min_step``,
        ``max_step``. Others warn.
    event_fn
        ``event_fn(t, y)``: the solve ends where it (or, of several values, the first) crosses zero.

    Returns
    -------
    Tensor or tuple of tensors
        The states, ``(time, *y0.shape)``; with ``event_fn`` the event's time and the states at the start and there.

    Raises
    ------
    SolveError
        If the solve does not reach its end; an ``AssertionError`` as well.
    ValueError, TypeError
        For arguments that cannot be used; most are an ``AssertionError`` as well.
    """
    with refusals():
        choice = Choice.of(method, options, rtol, atol)
    asked = asked_of(func, y0, t, choice, event=event_fn is not None)
    if event_fn is not None:
        event_time, states = solved_until(asked, Naive(), event_fn)
        return event_time.to(t), states
    return solved(asked, Naive())


def odeint_dense(
    func: Callable[..., Any],
    y0: Tensor,
    t0: Tensor | float,
    t1: Tensor | float,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[[Tensor | float], Tensor]:
    """Solve from ``t0`` to ``t1`` and return the solution as a function of time.

    Returns
    -------
    Callable
        Takes a time, giving ``y0.shape``, or ``(time,)`` times, giving ``(time, *y0.shape)``, inside the span.
    """
    if not isinstance(y0, Tensor):
        raise InvalidArgument(f"`y0` must be a tensor here, got {type(y0).__name__}; join its parts")
    ends = [torch.as_tensor(end, dtype=torch.float64, device=y0.device).reshape(()) for end in (t0, t1)]
    with refusals():
        choice = Choice.of(method, options, rtol, atol)
        if choice.method.kind == "scipy":
            raise InvalidArgument("odeint_dense needs a Runge-Kutta or Adams method, got method='scipy_solver'")
        if choice.method.kind != "adaptive":
            choice = replace(choice, options={"interp": "cubic", **choice.options})
    table = outcome_of(asked_of(func, y0, torch.stack(ends), choice, dense=True), Naive()).table
    assert table is not None
    low, high = sorted(float(end.detach()) for end in ends)

    def solution(t: Tensor | float) -> Tensor:
        times = torch.as_tensor(t, dtype=torch.float64, device=y0.device)
        if not bool(((times >= low) & (times <= high)).all()):
            raise InvalidArgument(f"`t` must lie inside the solved span from {low:g} to {high:g}, got {t}")
        return table.read(times) if times.ndim else table.read(times[None])[0]

    return solution


def odeint_event(
    func: Callable[..., Any],
    y0: Any,
    t0: Tensor,
    *,
    event_fn: Callable[..., Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> Any:
    """Solve from ``t0`` until ``event_fn(t, y)`` crosses zero; the event's time and state are differentiable.

    Parameters
    ----------
    func, y0, event_fn
        As of :func:`odeint`.
    t0
        The initial time, a floating tensor of one element.
    reverse_time
        Whether to go backward in time.
    odeint_interface
        :func:`odeint`, :func:`odeint_adjoint`, or a ``functools.partial`` of one.
    **kwargs
        Further arguments of it.

    Returns
    -------
    event_time
        0-dimensional, of the dtype of ``t0``.
    states
        At ``t0`` and at the event, ``(2, *y0.shape)``.
    """
    start = t0.reshape(1)
    t = torch.cat([start, start.detach() + (-1.0 if reverse_time else 1.0)])
    check_event_graph(event_fn, t[0], y0)
    return odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
