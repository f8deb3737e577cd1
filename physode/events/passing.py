"""What happens where a piece of a solve stops: events have their say, states jump, groups end or go on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from physode.events.carried import Carried
from physode.events.conditions import Conditions
from physode.events.found import Firings
from physode.events.implicit import differentiable, of_fired
from physode.events.segment import Segment
from physode.events.state import State
from physode.solvers.groups import expand
from physode.status import Status

__all__ = ["passed"]

_RESOLUTION = 16 * torch.finfo(torch.float64).eps

Noted = list[tuple[int, Firings]]
"""Firings, each with the number of its event."""


def passed(state: State, segment: Segment, y: Tensor, going: Tensor, last: Tensor) -> tuple[State, bool, Noted]:
    """Let the events that stopped groups have their say.

    Parameters
    ----------
    state
        Where groups were when the piece began.
    y
        The states at its end.
    going
        The groups that have come to its end.
    last
        When the solve ends: behind it there is nothing to jump to.

    Returns
    -------
    tuple
        Where groups are now; whether any has jumped; the firings.
    """
    search, groups = segment.search, state.t.shape
    conditions, t_stop = search.conditions, segment.t[-1].detach()
    stopped = going & ~torch.isnan(search.stop).reshape(groups)
    t_next, y_next, noted = _fired(segment, y, stopped)
    ends, at_end = stopped & search.last.reshape(groups), going & (t_stop == last.detach())
    jumps = torch.zeros_like(stopped)
    for index, event in enumerate(conditions.events):
        if event.jump is not None:
            jumps |= stopped & ~ends & ~at_end & search.stopping[index].reshape(groups)
    jumped, crossed = bool(jumps.any()), search.stopping | search.silent
    switched = crossed & (search.sides != 0)
    carried = Carried.nothing(state.counts)
    if jumped or bool(switched.any()):
        carried = search.carry(t_stop, y)
    sides = torch.where(switched, -search.sides, search.sides)
    sides = torch.where(jumps.reshape(-1) & (sides != 0), torch.nan, sides)
    for index, event in enumerate(conditions.events):
        fired = jumps & search.stopping[index].reshape(groups)
        if event.jump is not None and bool(fired.any()):
            y_next = _jumped(conditions, index, t_next, y_next, fired)
    crowded = (jumps | (stopped & switched.any(0).reshape(groups))) & (
        (t_stop - state.t.detach()).abs() <= _RESOLUTION * t_stop.abs()
    )
    state = replace(state, t=t_next, y=y_next, counts=search.counts, carried=carried, sides=sides)
    state.end(ends, Status.EVENT, t_stop)
    state.end(crowded, Status.ACCUMULATION, t_stop)
    state.end(at_end, Status.SUCCESS, t_stop)
    return state, jumped, noted


def _fired(segment: Segment, y: Tensor, stopped: Tensor) -> tuple[Tensor, Tensor, Noted]:
    """Return times and states to go on from, with the gradients of the events that stopped groups, and the firings."""
    search, groups = segment.search, stopped.shape
    t_next, y_next, noted = segment.t[-1], y, Noted()
    for index in (search.stopping | search.silent).any(1).nonzero().flatten().tolist():
        fired, silent = (stopped & part[index].reshape(groups) for part in (search.stopping, search.silent))
        if not bool((fired | silent).any()):
            continue
        t_event, y_event = differentiable(search.conditions, index, segment.t[-1].detach(), y, fired | silent)
        if bool(fired.any()):
            noted.append((index, Firings.of(t_event, y_event, fired)))
        first = (fired | silent) & (search.first == index).reshape(groups)
        t_next = torch.where(first, t_event, t_next)
        y_next = torch.where(expand(first, y.ndim), y_event, y_next)
    return t_next, y_next, noted


def _jumped(conditions: Conditions, index: int, t: Tensor, y: Tensor, fired: Tensor) -> Tensor:
    """Return the states behind a jump; groups that do not jump get no gradient of it."""
    wide = expand(fired, y.ndim)
    states = of_fired(fired, torch.where(wide, y, y.detach()))
    after = conditions.jumped(index, torch.where(fired, t, t.detach()), states)
    return torch.where(wide, after, y)
