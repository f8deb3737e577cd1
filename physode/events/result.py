"""The events of a solution: when, where, in which sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from physode.events.event import Event
from physode.gradients.outputs import Outcome
from physode.problem.packing import Packing

__all__ = ["EventTimes", "Events", "Firings", "Found", "gather"]


@dataclass(frozen=True)
class EventTimes:
    """All firings of one event, by sample and then in the order of the solve.

    Attributes
    ----------
    t
        The times, ``(n,)``, float64, with gradients.
    y
        The states there, before a jump: ``(n, *sample)`` with per-sample steps, ``(n, *y0.shape)`` with shared steps;
        in the structure of ``y0``, with gradients.
    sample
        Whose they are, ``(n,)``: indices into the batch, 0 with shared steps.
    count
        How many there are: ``(batch,)``, or ``()`` with shared steps.
    name
        The event's.
    """

    t: Tensor
    y: Any
    sample: Tensor
    count: Tensor
    name: str | None = None

    def __len__(self) -> int:
        return len(self.t)

    def table(self) -> Tensor:
        """Return the times as ``(batch, most)``, one row a sample and NaN where it has fewer."""
        count = self.count.reshape(-1)
        first = torch.cumsum(count, 0) - count
        place = torch.arange(len(self), device=count.device) - first[self.sample]
        blank = self.t.new_full((len(count), int(count.max()) if len(count) else 0), torch.nan)
        return blank.index_put((self.sample, place), self.t)


class Events(Sequence[EventTimes]):
    """The events of a solve, in the order they were given in; also by name."""

    def __init__(self, found: Sequence[EventTimes] = ()) -> None:
        self._found = tuple(found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[EventTimes]:
        return iter(self._found)

    @overload
    def __getitem__(self, key: int | str) -> EventTimes: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[EventTimes, ...]: ...
    def __getitem__(self, key: int | str | slice) -> EventTimes | tuple[EventTimes, ...]:
        if not isinstance(key, str):
            return self._found[key]
        for one in self._found:
            if one.name == key:
                return one
        known = ", ".join(repr(one.name) for one in self._found if one.name is not None) or "none has a name"
        raise KeyError(f"no event is called {key!r}; known: {known}")

    def __repr__(self) -> str:
        return f"Events({', '.join(f'{one.name or index}: {len(one)}' for index, one in enumerate(self))})"


class Found(NamedTuple):
    """What a solve with events gives: as one without them, and the events."""

    outcome: Outcome
    events: Events


class Firings(NamedTuple):
    """Some firings of one event: ``(rows, *groups)`` times, packed states, and where there is one."""

    t: Tensor
    y: Tensor
    fired: Tensor

    @classmethod
    def of(cls, t: Tensor, y: Tensor, fired: Tensor) -> Firings:
        """Return one row."""
        return cls(t[None], y[None], fired[None])


def gather(
    events: Sequence[Event], firings: Sequence[Sequence[Firings]], packing: Packing, y0: Tensor, direction: Tensor
) -> Events:
    """Make the events of a solution from the firings found piece by piece."""
    groups = direction.shape
    found = []
    for event, parts in zip(events, firings, strict=True):
        if parts:
            t, y, fired = (torch.cat(rows) for rows in zip(*parts, strict=True))
        else:
            t = torch.zeros((0, *groups), dtype=torch.float64, device=y0.device)
            y, fired = y0.new_zeros((0, *y0.shape)), torch.zeros((0, *groups), dtype=torch.bool, device=y0.device)
        sample = fired.nonzero()[:, 1] if groups else torch.zeros(int(fired.sum()), dtype=torch.long, device=t.device)
        t, y = t[fired], y[fired]
        order = torch.argsort((t * direction.reshape(-1)[sample]).detach(), stable=True)
        order = order[torch.argsort(sample[order], stable=True)]
        states = packing.unpack(y[order], leading=0 if groups else 1)
        found.append(EventTimes(t[order], states, sample[order], fired.sum(0), event.name))
    return Events(found)
