"""Events: what the user asks for (a condition, which of its crossings count, what happens), and the times found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from physode.gradients.outputs import Outcome
from physode.problem.packing import Packing

__all__ = ["NO_EVENTS", "Event", "EventTimes", "Events", "Firings", "Found", "checked_events", "gather"]


@dataclass(frozen=True)
class Event:
    r"""Times :math:`t^*` with :math:`g(t^*, y(t^*)) = 0`, where :math:`g` changes its sign.

    A condition that is zero at the start, or all along, does not fire; nor does one that touches zero between the
    points looked at: each step's end and three points inside it, on the method's interpolant. Crossings that come in
    pairs between two of these points are not seen; ``max_step`` brings the points closer together.

    Where the right-hand side is discontinuous at :math:`g = 0`, in whichever direction it is crossed, steps end there,
    and each piece of the solve sees the right-hand side of the side that it lies on: gradients pass the discontinuity
    (saltation). :math:`g` must have a gradient in torch for that. Where the right-hand side leads back to the surface
    from both sides, the solve ends with :attr:`physode.Status.SLIDING`.

    Attributes
    ----------
    condition
        :math:`g`, as ``condition(t, y, *args)``, its inputs as the right-hand side gets them: one number with shared
        steps, ``(batch,)`` with per-sample steps.
    terminal
        Whether the solve, or the sample, ends there: with :attr:`physode.Status.EVENT`, which is a success. Outputs
        behind it are NaN.
    direction
        Which crossings count: 1 rising, -1 falling, 0 both.
    jump
        The state goes on as ``jump(t, y, *args)``, shaped like ``y``. An output at that time is the state before it; at
        the end time there is no jump.
    max_count
        Ends the solve, or the sample, at this many firings. A terminal event's is 1 by default, others have none.
    name
        What the event is called in errors and in ``sol.events``.

    Raises
    ------
    TypeError, ValueError
        For settings that cannot be used.
    """

    condition: Callable[..., Tensor]
    _: KW_ONLY
    terminal: bool = False
    direction: int = 0
    jump: Callable[..., Any] | None = None
    max_count: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for label, value in (("condition", self.condition), ("jump", self.jump)):
            if not callable(value) and not (label == "jump" and value is None):
                raise TypeError(f"`{label}` must be callable as {label}(t, y, *args), got {type(value).__name__}")
        if self.direction not in (-1, 0, 1):
            raise ValueError(f"`direction` must be 1 (rising), -1 (falling) or 0 (both), got {self.direction!r}")
        if self.max_count is not None and (not _is_whole(self.max_count) or self.max_count < 1):
            raise ValueError(f"`max_count` must be a whole number, at least 1, or None, got {self.max_count!r}")
        if self.name is not None and not _is_text(self.name):
            raise TypeError(f"`name` must be a string, since numbers count places, got {self.name!r}")
        if self.terminal and self.jump is not None:
            raise ValueError(
                "`terminal` ends the solve, with nothing behind the `jump`; give one of them, or `max_count`"
            )

    @property
    def limit(self) -> int | None:
        """The number of firings that ends the solve."""
        return 1 if self.terminal and self.max_count is None else self.max_count


def checked_events(events: Event | Sequence[Event]) -> tuple[Event, ...]:
    """Return the events as a tuple.

    Raises
    ------
    TypeError, ValueError
        If something else is among them, or two share a name.
    """
    several = tuple(events) if isinstance(events, Sequence) else (events,)
    for event in several:
        if not isinstance(event, Event):
            raise TypeError(f"`events` must be physode.Event(condition, ...) or several, got {type(event).__name__}")
    names = [event.name for event in several if event.name is not None]
    if len(set(names)) < len(names):
        raise ValueError(f"the names of `events` must differ, got {', '.join(names)}")
    return several


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


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
        column = torch.arange(len(self), device=count.device) - first[self.sample]
        blank = self.t.new_full((len(count), int(count.max()) if len(count) else 0), torch.nan)
        return blank.index_put((self.sample, column), self.t)


class Events(Sequence[EventTimes]):
    """The events of a solve, in the order they were given in; also by name."""

    def __init__(self, by_event: Sequence[EventTimes] = ()) -> None:
        self._by_event = tuple(by_event)

    def __len__(self) -> int:
        return len(self._by_event)

    def __iter__(self) -> Iterator[EventTimes]:
        return iter(self._by_event)

    @overload
    def __getitem__(self, key: int | str) -> EventTimes: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[EventTimes, ...]: ...
    def __getitem__(self, key: int | str | slice) -> EventTimes | tuple[EventTimes, ...]:
        if not isinstance(key, str):
            return self._by_event[key]
        for one in self._by_event:
            if one.name == key:
                return one
        names = ", ".join(repr(one.name) for one in self._by_event if one.name is not None) or "none has a name"
        raise KeyError(f"no event is called {key!r}; known: {names}")

    def __repr__(self) -> str:
        return f"Events({', '.join(f'{one.name or index}: {len(one)}' for index, one in enumerate(self))})"


NO_EVENTS = Events()
"""Those of a solve that looks for none."""


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
    by_event = []
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
        by_event.append(EventTimes(t[order], states, sample[order], fired.sum(0), event.name))
    return Events(by_event)
