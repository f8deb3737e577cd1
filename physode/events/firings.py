"""Which crossings of a step count: in the order of time, ties in the order of events, up to the first that stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.events.event import Event

__all__ = ["Chosen", "Crossing", "Firing", "choose", "tie_of"]

_TIE = 1e-10  # of a step: events this close happen at once


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
