"""The search for events while a solve goes on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.carried import Carried
from physode.events.conditions import Conditions
from physode.events.crossings import POINTS, Looks, crossings_of
from physode.events.firings import Crossing, Firing, choose, tie_of
from physode.events.inside import Inside
from physode.solvers.method import Method
from physode.solvers.numbers import Number, anywhere, logical_not
from physode.solvers.stepper import Rhs, Step, interpolant

__all__ = ["Search"]

_EARLY = (2.0**-10, 2.0**-6)
"""Places in a step where a condition that starts at zero without a slope shows which sign it takes."""


class Search:
    """Looks into each accepted attempt of a solve for events, and stops groups where these say so.

    All is without a graph, with groups as one axis: a shared clock's only group, or the samples.

    Attributes
    ----------
    counts
        How often each event has fired, ``(events, groups)``.
    firings
        Those that stopped nothing.
    stop
        When each group is stopped, NaN where not; ``stopping`` by which events, ``first`` by which first (-1: none).
    """

    def __init__(self, conditions: Conditions, counts: Tensor, going: Tensor) -> None:
        self.conditions, self._going = conditions, going.reshape(-1)
        self.counts = counts
        self.firings: list[Firing] = []
        self.stop = torch.full(self._going.shape, torch.nan, dtype=torch.float64, device=going.device)
        self.stopping = torch.zeros_like(counts, dtype=torch.bool)
        self.first = torch.full_like(counts[0] if len(counts) else self._going.long(), -1)
        self._tied = torch.zeros_like(self.stopping)
        self._at_stop = torch.full_like(counts, math.nan, dtype=torch.float64)
        self._signs = self._values = torch.zeros_like(counts, dtype=torch.float64)
        self._noise = torch.zeros_like(self._values)

    @property
    def last(self) -> Tensor:
        """Which groups are stopped by an event that ends them, ``(groups,)``."""
        found = torch.zeros_like(self.first, dtype=torch.bool)
        for index, event in enumerate(self.conditions.events):
            if event.limit is not None:
                found |= self.stopping[index] & (self.counts[index] >= event.limit)
        return found

    def begin(self, t: Tensor, y: Tensor, f: Tensor, carried: Carried, direction: Tensor) -> None:
        r"""Find the signs that the solve starts with.

        Where a jump has left a condition as near zero as the error of the state there (within twice its residual), the
        sign is the one carried. Where it was crossing zero, or is zero, the sign is that which :math:`\dot g` is about
        to give it, in the ``direction`` of each group's time; where that is zero too, the first step will tell.
        """
        if not len(self.counts):
            return
        with torch.no_grad():
            t, y = t.detach(), y.detach()
            self._values = self.conditions.values(t, y)
            self._check(self._values, t.reshape(-1), self._going & _finite(y, t))
            self._signs = torch.sign(self._values)
            near = self._values.abs() <= 2 * carried.residual
            known = near & ~torch.isnan(carried.signs)
            self._signs = torch.where(known, carried.signs, self._signs)
            near = ((self._values == 0) | near) & ~known & self._going
            for index in near.any(1).nonzero().flatten().tolist():
                ahead = (direction * self.conditions.tendency(index, t, y, f)).reshape(-1)
                self._signs[index] = torch.where(near[index], ahead, self._signs[index])
                noise = self.conditions.noise(index, t, y).reshape(-1)
                self._noise[index] = torch.where(near[index], torch.maximum(noise, 2 * carried.residual[index]), 0.0)

    def look(
        self,
        rhs: Rhs,
        tableau: Method,
        t: Number,
        y: Tensor,
        h: Number,
        t_next: Number,
        step: Step,
        k_end: Tensor | None,
        accepted: Number,
        t1: Number,
    ) -> tuple[Number, Number]:
        """Look into an attempt; see :class:`~physode.solvers.observer.Lookout`."""
        if not len(self.counts) or not anywhere(accepted):
            return accepted, t1
        with torch.no_grad():
            clock = [torch.as_tensor(v, dtype=torch.float64, device=y.device).detach() for v in (t, h, t_next)]
            y, ends = y.detach(), step.y.detach()
            slopes = Step(ends, tuple(k.detach() for k in step.ks))
            k_end = rhs(t_next, ends) if k_end is None else k_end.detach()
            dense = interpolant(rhs, tableau, _plain(t), y, _plain(h), slopes, k_end)
            watched = torch.as_tensor(accepted, device=y.device).reshape(-1) & self._going & torch.isnan(self.stop)
            watched &= _finite(ends, clock[0])
            inside = Inside(clock[0], clock[1], clock[2], y, dense, ends)
            crossings = crossings_of(self.conditions, inside, self._looked(inside, watched), watched)
            if not crossings:
                return accepted, t1
            held = self._fire(inside, crossings)
            if not bool(held.any()):
                return accepted, t1
        if not isinstance(t1, Tensor):
            return False, float(self.stop)
        held = held.reshape(t1.shape)
        return accepted & logical_not(held), torch.where(held, self.stop.reshape(t1.shape), t1)

    def _looked(self, step: Inside, watched: Tensor) -> Looks:
        """Look at some points of a step, and note the values and signs at its end."""
        values, signs = [self._values], [self._undecided(step)]
        for point in POINTS:
            time, state = step.at(torch.full_like(step.t, point))
            found = self.conditions.values(time, state)
            self._check(found, time.reshape(-1), watched)
            values.append(found)
            signs.append(self._sign(found, signs[-1]))
        self._values = torch.where(watched, values[-1], self._values)
        self._signs = torch.where(watched, signs[-1], self._signs)
        self._noise = torch.where(watched & (values[-1].abs() > self._noise), 0.0, self._noise)
        return Looks(values, signs)

    def _undecided(self, step: Inside) -> Tensor:
        """Return the signs at a step's start; where they are not known yet, those which they take next."""
        signs = self._signs
        if bool((signs == 0).any()):
            for point in _EARLY:
                found = self.conditions.values(*step.at(torch.full_like(step.t, point)))
                signs = torch.where(signs == 0, self._sign(found, signs), signs)
        return signs

    def _sign(self, values: Tensor, before: Tensor) -> Tensor:
        """Return the signs of values; of those that started at zero, once they have left what is rounding there."""
        return torch.where(values.abs() < self._noise, before, torch.sign(values))

    def _fire(self, step: Inside, crossings: list[Crossing]) -> Tensor:
        """Let events fire; return which groups are stopped inside the step."""
        direction = torch.sign(step.h).reshape(-1)
        chosen = choose(self.conditions.events, crossings, self.counts, direction, tie_of(step.t, step.h).reshape(-1))
        self.counts = chosen.counts
        self.firings += chosen.firings
        held = chosen.first >= 0
        before, after = self._signs_around(step, chosen.stop, held)
        self._tied = torch.where(held, (before != after) | chosen.stopping, self._tied)
        self._at_stop = torch.where(held, after, self._at_stop)
        self.stop = torch.where(held, chosen.stop, self.stop)
        self.stopping |= chosen.stopping
        self.first = torch.where(held, chosen.first, self.first)
        return held

    def _signs_around(self, step: Inside, stop: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Return the signs of the conditions just before and just behind the stops of groups, ``(events, groups)``."""
        if not bool(held.any()):
            return self._at_stop, self._at_stop
        size = torch.where(step.h == 0, 1.0, step.h)
        tie = 2 * tie_of(step.t, step.h) / size.abs()
        theta = torch.where(held.reshape(tie.shape), (stop.reshape(tie.shape) - step.t) / size, 0.0)
        sides = [(theta - tie).clamp(min=0.0), (theta + tie).clamp(max=1.0)]
        before, after = (torch.sign(self.conditions.values(*step.at(side))) for side in sides)
        return before, after

    def carry(self, t: Tensor, y: Tensor) -> Carried:
        """Return what to know behind a jump at the stops, where the states are ``y``.

        A step that lands on a stop ends in another state than the interpolant that the stop was found on, within the
        local error: an event that fired may look as if it still had to, and the other way round.
        """
        with torch.no_grad():
            values = self.conditions.values(t, y.detach())
        doubtful = self._tied | (torch.sign(values) != self._at_stop)
        nothing = Carried.nothing(self.counts)
        return Carried(
            torch.where(doubtful, values.abs(), nothing.residual),
            torch.where(doubtful & ~self._tied, self._at_stop, nothing.signs),
        )

    def _check(self, values: Tensor, t: Tensor, groups: Tensor) -> None:
        """Raise where a condition is NaN."""
        bad = torch.isnan(values) & groups
        if bool(bad.any()):
            index, group = bad.nonzero()[0].tolist()
            where = f" for sample {group}" if len(groups) > 1 else ""
            raise SolveError(
                f"the condition of {self.conditions.label(index)} is NaN at t = {float(t[group]):.9g}{where}; "
                "it must be a number at every state that the solve reaches"
            )


def _finite(y: Tensor, t: Tensor) -> Tensor:
    """Return which groups have a state, ``(groups,)``; others have failed, which their status tells."""
    return torch.isfinite(y).reshape(t.numel(), y.numel() // max(t.numel(), 1)).all(1)


def _plain(value: Number) -> Number:
    return value.detach() if isinstance(value, Tensor) else value
