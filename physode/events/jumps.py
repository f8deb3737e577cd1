"""Where rounds begin and end, and which crossings end them.

Known discontinuities are times of their own. Of the crossings of a step those count, in the order of time, ties in the
order of events, up to the first that stops; behind it the state may jump.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from physode.events.conditions import Conditions, differentiable, of_fired
from physode.events.event import Event, Firings
from physode.problem.problem import Problem
from physode.solvers.clock import expand
from physode.status import Status

if TYPE_CHECKING:
    from physode.events.detection import Detector
    from physode.events.rounds import State

__all__ = ["Carried", "Chosen", "Crossing", "Firing", "Stops", "checked_jump_times", "choose", "passed", "tie_of"]

_TIE = 1e-10  # of a step: events this close happen at once
_RESOLUTION = 16 * torch.finfo(torch.float64).eps


class Stops:
    """The times of one problem.

    Attributes
    ----------
    direction, span
        The sign and the signed length of each group's span.
    """

    def __init__(self, problem: Problem, jump_times: Tensor | None) -> None:
        self._t, self._dtype = problem.t, problem.dynamics.dtype
        self._jumps = self._t.new_empty(0) if jump_times is None else jump_times
        self.span = (self._t[-1] - self._t[0]).detach()
        self.direction = torch.sign(self.span)

    def after(self, t: Tensor) -> Tensor:
        """Return each group's next discontinuity behind ``t``, or its end, with its graph."""
        end = self._t[-1]
        if not len(self._jumps):
            return end
        jumps = self._jumps.reshape(-1, *[1] * t.ndim)
        ahead, before = self.direction * (jumps - t).detach(), self.direction * (end - jumps).detach()
        distance = torch.where((ahead > 0) & (before > 0), ahead, torch.inf)
        nearest = distance.argmin(0)
        return torch.where(torch.isfinite(distance.amin(0)), self._jumps[nearest], end)

    def inside(self, times: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Whether times lie behind ``start`` and before ``end``, or at it."""
        times, start, end = times.detach(), start.detach(), end.detach()
        return (self.direction * (times - start) > 0) & (self.direction * (end - times) >= 0)

    def between(self, start: Tensor, end: Tensor, groups: Tensor) -> list[int]:
        """Return which outputs lie in the piece of some group."""
        some = (self.inside(self._t, start, end) & groups).reshape(len(self._t), -1).any(1)
        outputs: list[int] = some.nonzero().flatten().tolist()
        return outputs

    def share(self, t: Tensor) -> Tensor:
        """Return which part of the span lies before ``t``."""
        return (t - self._t[0]).detach() / self.span

    def bounds(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of the times that the right-hand side sees: at a discontinuity, just inside the piece."""
        start, end = start.detach(), end.detach()
        first = self._inwards(start, self.direction)
        last = self._inwards(end, -self.direction)
        return torch.minimum(first, last), torch.maximum(first, last)

    def _inwards(self, t: Tensor, direction: Tensor) -> Tensor:
        at_jump = (self._jumps.detach().reshape(-1, *[1] * t.ndim) == t).any(0)
        if not bool(at_jump.any()):
            return t
        typed = t.to(self._dtype)
        beside = torch.nextafter(typed, (direction * torch.inf).to(self._dtype))
        return torch.where(at_jump, beside.double(), t)


def checked_jump_times(jump_t: object, device: torch.device) -> Tensor:
    """Return the discontinuities in float64 and rising order.

    Raises
    ------
    ValueError
        If they are not finite times, ``(n,)``.
    """
    try:
        times = jump_t if isinstance(jump_t, Tensor) else torch.as_tensor(jump_t, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"`jump_t` must be a tensor or a sequence of times, got {type(jump_t).__name__}") from None
    if times.is_complex() or times.dtype == torch.bool:
        raise ValueError(f"`jump_t` must be real times, got {times.dtype}; give seconds or whatever `t` counts")
    times = times.to(device=device, dtype=torch.float64)
    if times.ndim != 1 or not bool(torch.isfinite(times.detach()).all()):
        raise ValueError(f"`jump_t` must be finite times of shape (n,), got shape {tuple(times.shape)}")
    return times.sort().values


class Crossing(NamedTuple):
    """A crossing of one event: its time for each group, ``(groups,)``, infinite where there is none.

    ``counts``: in which groups it is in a direction that was asked for.
    """

    event: int
    t: Tensor
    counts: Tensor


class Firing(NamedTuple):
    """An event that fired and goes on: its times for some groups, and how often it had fired in each before."""

    event: int
    groups: Tensor
    t: Tensor
    nth: Tensor


class Chosen(NamedTuple):
    """What fired in a step.

    ``firings``: those that stop nothing. ``counts``: how often each event has fired by now, ``(events, groups)``.
    ``stop``: the times at which groups are stopped, infinite where not. ``stopping``: by which events,
    ``(events, groups)``; ``silent``: by which of them in a direction that does not count; ``first``: by which first, -1
    where by none.
    """

    firings: list[Firing]
    counts: Tensor
    stop: Tensor
    stopping: Tensor
    silent: Tensor
    first: Tensor


def choose(
    events: Sequence[Event],
    crossings: Sequence[Crossing],
    counts: Tensor,
    switching: Tensor,
    direction: Tensor,
    tie: Tensor,
) -> Chosen:
    """Go through the crossings of a step.

    Parameters
    ----------
    crossings
        At least one, in the order of events.
    counts
        How often each event had fired before, ``(events, groups)``.
    switching
        Which events stop groups whatever the direction, ``(events, groups)``: the right-hand side switches there.
    direction
        The sign of each group's step.
    tie
        How close events happen at once.
    """
    limits = torch.tensor([event.limit or -1 for event in events], device=counts.device)
    jumps = torch.tensor([event.jump is not None for event in events], device=counts.device)
    owners = torch.tensor([crossing.event for crossing in crossings], device=counts.device)
    rows = [torch.where(torch.isfinite(one.t), direction * one.t, torch.inf) for one in crossings]
    times, order = torch.sort(torch.stack(rows), dim=0, stable=True)
    asked = torch.stack([one.counts for one in crossings]).gather(0, order)
    column = torch.arange(counts.shape[1], device=counts.device)
    counts, firings = counts.clone(), []
    stop, first = torch.full_like(times[0], torch.inf), torch.full_like(column, -1)
    stopping, silent = (torch.zeros_like(counts, dtype=torch.bool) for _ in range(2))
    for t, event, wanted in zip(times, owners[order], asked, strict=True):
        switches = switching[event, column]
        fires = torch.isfinite(t) & (t <= stop + tie) & ~stopping[event, column] & (wanted | switches)
        counts[event, column] += fires & wanted
        ends = wanted & (jumps[event] | (counts[event, column] == limits[event]))
        stops = fires & (switches | ends)
        stop = torch.where(stops & (first < 0), t, stop)
        first = torch.where(stops & (first < 0), event, first)
        stopping[event, column] |= stops
        silent[event, column] |= stops & ~wanted
        at = torch.minimum(t, stop) * direction
        going = fires & ~stops
        for index in torch.unique(event[going]).tolist():
            groups = (going & (event == index)).nonzero().flatten()
            firings.append(Firing(index, groups, at[groups], counts[index, groups] - 1))
    return Chosen(firings, counts, stop * direction, stopping, silent, first)


def tie_of(t: Tensor, h: Tensor) -> Tensor:
    """Return how close events of a step happen at once."""
    return _TIE * h.abs() + 4 * torch.finfo(torch.float64).eps * t.abs()


class Carried(NamedTuple):
    """What is known of the conditions from before a jump, ``(events, groups)`` each.

    ``residual``: how far from zero a condition was at the jump, where its sign there is not to be trusted; else -1.
    ``signs``: the sign that it had, NaN where it was crossing zero just then.
    """

    residual: Tensor
    signs: Tensor

    @classmethod
    def nothing(cls, like: Tensor) -> Carried:
        """Return what is known at the start."""
        return cls(
            torch.full_like(like, -1.0, dtype=torch.float64), torch.full_like(like, math.nan, dtype=torch.float64)
        )

    @classmethod
    def behind(cls, values: Tensor, signs: Tensor, tied: Tensor) -> Carried:
        """Return what is known behind a stop.

        A step that lands on a stop ends in another state than the interpolant that the stop was found on, within the
        local error: an event that fired may look as if it still had to, and the other way round.

        Parameters
        ----------
        values
            The conditions in the states that groups have landed in, ``(events, groups)``.
        signs
            Those that they have just behind the stop, by the interpolant.
        tied
            Which of them were crossing zero there.
        """
        doubtful, nothing = tied | (torch.sign(values) != signs), cls.nothing(values)
        return cls(
            torch.where(doubtful, values.abs(), nothing.residual), torch.where(doubtful & ~tied, signs, nothing.signs)
        )


Noted = list[tuple[int, Firings]]
"""Firings, each with the number of its event."""


def passed(
    state: State, detector: Detector, end: Tensor, y: Tensor, going: Tensor, last: Tensor, *, any_order: bool
) -> tuple[State, bool, Noted]:
    """Let the events that stopped groups have their say.

    Parameters
    ----------
    state
        Where groups were when the round began.
    detector
        What was found in it.
    end, y
        The times and the states at its end.
    going
        The groups that have come to its end.
    last
        When the solve ends: behind it there is nothing to jump to.
    any_order
        Whether gradients are to be differentiated in turn.

    Returns
    -------
    tuple
        Where groups are now; whether any has jumped; the firings.
    """
    detector, groups = detector, state.t.shape
    conditions, t_stop = detector.conditions, end.detach()
    stopped = going & ~torch.isnan(detector.stop).reshape(groups)
    t_next, y_next, noted = _fired(detector, end, y, stopped, any_order=any_order)
    ends, at_end = stopped & detector.last.reshape(groups), going & (t_stop == last.detach())
    jumps = torch.zeros_like(stopped)
    for index, event in enumerate(conditions.events):
        if event.jump is not None:
            jumps |= stopped & ~ends & ~at_end & detector.stopping[index].reshape(groups)
    jumped, crossed = bool(jumps.any()), detector.stopping | detector.silent
    switched = crossed & (detector.sides != 0)
    carried = Carried.nothing(state.counts)
    if jumped or bool(switched.any()):
        carried = detector.carry(t_stop, y)
    sides = torch.where(switched, -detector.sides, detector.sides)
    sides = torch.where(jumps.reshape(-1) & (sides != 0), torch.nan, sides)
    for index, event in enumerate(conditions.events):
        fired = jumps & detector.stopping[index].reshape(groups)
        if event.jump is not None and bool(fired.any()):
            y_next = _jumped(conditions, index, t_next, y_next, fired)
    crowded = (jumps | (stopped & switched.any(0).reshape(groups))) & (
        (t_stop - state.t.detach()).abs() <= _RESOLUTION * t_stop.abs()
    )
    state = replace(state, t=t_next, y=y_next, counts=detector.counts, carried=carried, sides=sides)
    state.end(ends, Status.EVENT, t_stop)
    state.end(crowded, Status.ACCUMULATION, t_stop)
    state.end(at_end, Status.SUCCESS, t_stop)
    return state, jumped, noted


def _fired(
    detector: Detector, end: Tensor, y: Tensor, stopped: Tensor, *, any_order: bool
) -> tuple[Tensor, Tensor, Noted]:
    """Return times and states to go on from, with the gradients of the events that stopped groups, and the firings."""
    groups = stopped.shape
    t_next, y_next, noted = end, y, Noted()
    for index in (detector.stopping | detector.silent).any(1).nonzero().flatten().tolist():
        fired, silent = (stopped & part[index].reshape(groups) for part in (detector.stopping, detector.silent))
        if not bool((fired | silent).any()):
            continue
        t_event, y_event = differentiable(
            detector.conditions, index, end.detach(), y, fired | silent, any_order=any_order
        )
        if bool(fired.any()):
            noted.append((index, Firings.of(t_event, y_event, fired)))
        first = (fired | silent) & (detector.first == index).reshape(groups)
        t_next = torch.where(first, t_event, t_next)
        y_next = torch.where(expand(first, y.ndim), y_event, y_next)
    return t_next, y_next, noted


def _jumped(conditions: Conditions, index: int, t: Tensor, y: Tensor, fired: Tensor) -> Tensor:
    """Return the states behind a jump; groups that do not jump get no gradient of it."""
    wide = expand(fired, y.ndim)
    states = of_fired(fired, torch.where(wide, y, y.detach()))
    after = conditions.jumped(index, torch.where(fired, t, t.detach()), states)
    return torch.where(wide, after, y)
