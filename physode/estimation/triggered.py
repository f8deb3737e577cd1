"""Solves of models that do something by themselves when a condition becomes true, with derivatives by gradients.

Where such a change happens depends on the unknowns: its time has a derivative, which events' gradients carry along
(:mod:`physode.events`). Each output is pulled back by itself, all samples at once, for samples are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from physode.estimation.problem import Model, Trigger
from physode.events.event import Event
from physode.solve import solve

Constants = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""From f's arguments to time, constants and inputs, row by row."""


def events_of(model: Model, constants: Constants) -> list[Event]:
    """Return a model's triggers as events."""
    return [_event(model, trigger, constants) for trigger in model.triggers]


def begin(
    model: Model, t: Tensor, x: Tensor, p: Tensor, u: Tensor, *, derivatives: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Do at the start what triggers do there whose condition counts as false before, and is true.

    Returns
    -------
    x, by_x, by_p
        States (R, D) and, if asked for, their derivatives by those before, (R, D, D), and by constants, (R, D, K).
    """
    if not derivatives:
        return _begun(model, t, x, p, u), None, None
    with torch.enable_grad():
        points = [x.detach().requires_grad_(), p.detach().requires_grad_()]
        after = _begun(model, t, points[0], points[1], u)
        slopes = [
            torch.autograd.grad(column.sum(), points, retain_graph=True, materialize_grads=True)
            for column in after.unbind(1)
        ]
    by_x, by_p = (torch.stack(part, 1) for part in zip(*slopes, strict=True))
    return after.detach(), by_x, by_p


def _begun(model: Model, t: Tensor, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
    for trigger in model.triggers:
        if not trigger.initially:
            now = trigger.condition(t, x, p, u) >= 0
            x = torch.where(now[:, None], _changed(model, trigger, t, x, p), x)
    return x


def solve_triggered(
    f: Callable[..., Tensor],
    x0: Tensor,
    times: Tensor,
    args: Sequence[Any],
    events: list[Event],
    *,
    derivatives: bool,
    **options: Any,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Solve, and differentiate by the first of `args` and by x0.

    Returns
    -------
    y, by_args, by_x
        (T, R, D), and, if asked for, (T, R, D, K) and (T, R, D, D).
    """
    if not derivatives:
        return solve(f, x0, times, args=tuple(args), events=events, **options).y, None, None
    with torch.enable_grad():
        start, moving = x0.detach().requires_grad_(), args[0].detach().requires_grad_()
        y = solve(f, start, times, args=(moving, *args[1:]), events=events, **options).y
        steps, _, dimension = y.shape
        finite = torch.where(torch.isfinite(y), y, 0.0)
        rows = [finite[i, :, d].sum() for i in range(steps) for d in range(dimension)]
        found = [
            torch.autograd.grad(row, (moving, start), retain_graph=True, allow_unused=True, materialize_grads=True)
            for row in rows
        ]
    stacked = [torch.stack(part) for part in zip(*found, strict=True)]
    by_args, by_x = (part.reshape(steps, dimension, *part.shape[1:]).movedim(1, 2) for part in stacked)
    return y.detach(), by_args, by_x


def _event(model: Model, trigger: Trigger, constants: Constants) -> Event:
    def condition(t: Tensor, x: Tensor, *args: Any) -> Tensor:
        time, p, u = constants(t, *args)
        return trigger.condition(time, x, p, u)

    def jump(t: Tensor, x: Tensor, *args: Any) -> Tensor:
        time, p, _ = constants(t, *args)
        return _changed(model, trigger, time, x, p)

    return Event(condition, direction=1, jump=jump if trigger.states else None)


def _changed(model: Model, trigger: Trigger, t: Tensor, x: Tensor, p: Tensor) -> Tensor:
    """Return states with what a trigger sets, all of it from the states before."""
    columns = list(x.unbind(1))
    for name, value in trigger.states.items():
        columns[model.states.index(name)] = torch.func.vmap(value)(t, x, p)
    return torch.stack(columns, 1)
