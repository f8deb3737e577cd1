"""The search for events while a solve goes on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physode.events.conditions import Conditions, finite_groups
from physode.events.discontinuity import Landing, discontinuous, sides_from
from physode.events.jumps import Carried, Crossing, Firing, choose, tie_of
from physode.events.root_finding import (
    POINTS,
    AnewError,
    Looks,
    Taken,
    Waiting,
    chord_crossing,
    crossings_of,
    signs_around,
    values_in,
)
from physode.rhs_state import Statistics
from physode.solvers.clock import Number, Verdict, anywhere, as_float, detached, logical_not
from physode.solvers.interpolation import StepInterpolant
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step, interpolant

__all__ = ["Detector"]

_EARLY = (2.0**-10, 2.0**-6)
"""Places in a step where a condition that starts at zero without a slope shows which sign it takes."""


class Detector:
    """Looks into each attempt of a solve for events, and stops groups where these say so.

    All is without a graph, with groups as one axis: a shared clock's only group, or the samples.

    Attributes
    ----------
    counts
        How often each event has fired, ``(events, groups)``.
    firings
        Those that stopped nothing.
    stop
        When each group is stopped, NaN where not; ``stopping`` by which events, ``silent`` by which in a direction that
        does not count, ``first`` by which of all these first (-1: none).
    sides
        On which sides of events' surfaces the right-hand side is held, 0 where it is not, ``(events, groups)``.
    discovered
        At which events the right-hand side has been found to be discontinuous without being held: such a group is
        stopped, to be solved anew.
    defers
        Whether steps of a shared clock may wait to be looked into many at a time: where their states have no graph.
    fired
        Of such steps, by their start, the state there, the interpolant, and the state at the end, where an event fired.
    """

    def __init__(
        self, conditions: Conditions, counts: Tensor, going: Tensor, sides: Tensor, statistics: Statistics
    ) -> None:
        self.conditions, self._going, self._statistics = conditions, going.reshape(-1), statistics
        self.counts, self.sides = counts, sides
        self.firings: list[Firing] = []
        self.stop = torch.full(self._going.shape, torch.nan, dtype=torch.float64, device=going.device)
        self.stopping, self.silent, self.discovered, self._tied = (
            torch.zeros_like(counts, dtype=torch.bool) for _ in range(4)
        )
        self.first = torch.full_like(counts[0] if len(counts) else self._going.long(), -1)
        self._at_stop = torch.full_like(counts, math.nan, dtype=torch.float64)
        self._signs = self._values = torch.zeros_like(counts, dtype=torch.float64)
        self._noise = torch.zeros_like(self._values)
        self._landing = Landing.nowhere(self.stop)
        self.defers, self._waiting = False, Waiting(conditions)
        self._steady = self._calm = False
        self.fired: dict[float, tuple[Tensor, Tensor, Tensor]] = {}
        self._stops = any(event.jump is not None or event.limit is not None for event in conditions.events)

    @property
    def target(self) -> Tensor:
        """Where groups are to end earlier than they would, NaN where not: stopped, or on their way to a surface."""
        return torch.where(torch.isnan(self.stop), self._landing.aim, self.stop)

    @property
    def last(self) -> Tensor:
        """Which groups are stopped by an event that ends them, ``(groups,)``."""
        ends = torch.zeros_like(self.first, dtype=torch.bool)
        for index, event in enumerate(self.conditions.events):
            if event.limit is not None:
                ends |= self.stopping[index] & (self.counts[index] >= event.limit)
        return ends

    def look_at_start(self, t: Tensor, y: Tensor, f: Tensor, carried: Carried, span: Tensor) -> None:
        r"""Find the signs that the solve starts with.

        Where a jump has left a condition as near zero as the error of the state there (within twice its residual), the
        sign is the one carried. Where it was crossing zero, or is zero, the sign is that which :math:`\dot g` is about
        to give it, in the direction of each group's ``span``; where that is zero too, the first step will tell.

        Raises
        ------
        AnewError
            If the right-hand side is discontinuous there, so that it is to be held on the side that the solve goes to.
        """
        if not len(self.counts):
            return
        with torch.no_grad():
            t, y = t.detach(), y.detach()
            self._values = self.conditions.values(t, y)
            self.conditions.check(self._values, t.reshape(-1), self._going & finite_groups(y, t))
            self._signs = torch.sign(self._values)
            near = self._values.abs() <= 2 * carried.residual
            trusted = near & ~torch.isnan(carried.signs)
            self._signs = torch.where(trusted, carried.signs, self._signs)
            near = ((self._values == 0) | near) & ~trusted & self._going
            for index in near.any(1).nonzero().flatten().tolist():
                ahead = (torch.sign(span) * self.conditions.tendency(index, t, y, f)).reshape(-1)
                self._signs[index] = torch.where(near[index], ahead, self._signs[index])
                noise = self.conditions.noise(index, t, y).reshape(-1)
                self._noise[index] = torch.where(near[index], torch.maximum(noise, 2 * carried.residual[index]), 0.0)
            self._signs = torch.where(self.sides == 0, self._signs, self.sides)
            self._begun_on(near & (self.sides == 0), t, y, carried, span)

    def _begun_on(self, surfaces: Tensor, t: Tensor, y: Tensor, carried: Carried, span: Tensor) -> None:
        """Look for discontinuities at the surfaces that groups start on, ``(events, groups)``."""
        conditions = self.conditions
        for index in surfaces.any(1).nonzero().flatten().tolist():
            with self._statistics.preserved():
                jumps = surfaces[index] & discontinuous(conditions, index, t, y, span)
                if not bool(jumps.any()):
                    continue
                sides = self.sides.clone()
                sides[index] = torch.where(jumps, torch.nan, sides[index])
                _, sliding = sides_from(
                    conditions.dynamics, conditions.events, t, y, sides, carried.residual, torch.sign(span)
                )
            self.discovered[index] |= jumps & ~sliding  # a state at rest there stays
        if bool(self.discovered.any()):
            raise AnewError

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
        accepted: Verdict,
        t1: Number,
    ) -> tuple[Verdict, Number]:
        """Look into an attempt; see :class:`~physode.solvers.callbacks.EventDetector`."""
        if not len(self.counts):
            return accepted, t1
        with torch.no_grad():
            if self.defers and not isinstance(t1, Tensor):
                taken = Taken(as_float(t), as_float(h), as_float(t_next), y.detach(), step, k_end)
                if self._waits(rhs, tableau, taken, anywhere(accepted)):
                    return accepted, t1
            y, ends = y.detach(), step.y.detach()
            chord = StepInterpolant.on((t, h, t_next), y, (ends - y)[None], ends)
            open_ = self._going & torch.isnan(self.stop) & finite_groups(ends, chord.t)
            kept = torch.as_tensor(accepted, device=y.device).reshape(-1)
            held, watched = torch.zeros_like(open_), open_ & kept
            if not bool(kept.all()):
                held = self._scouted(chord, open_ & ~kept)
            if bool(watched.any()):
                slopes = Step(ends, tuple(k.detach() for k in step.ks))
                k_end = rhs(t_next, ends) if k_end is None else k_end.detach()
                dense = interpolant(rhs, tableau, detached(t), y, detached(h), slopes, k_end)
                inside = StepInterpolant(chord.t, chord.h, chord.t_next, y, dense, ends)
                seen = values_in(self.conditions, inside)
                same = self._steady and bool(((torch.sign(seen) == self._signs) | ~watched).all())
                if same and not bool(held.any()):
                    self._values = torch.where(watched, seen[-1], self._values)
                    return accepted, t1
                self._landing.until(t1, self.target)
                held = held | self._seen(inside, watched, k_end, seen)
            else:
                self._landing.until(t1, self.target)
            ends_at = torch.where(torch.isnan(self.target), self._landing.end, self.target)
        if not isinstance(t1, Tensor):
            return accepted and not bool(held), float(ends_at)
        ends_at = ends_at.reshape(t1.shape)
        return accepted & logical_not(held.reshape(t1.shape)), torch.where(t1.detach() == ends_at, t1, ends_at)

    def _waits(self, rhs: Rhs, tableau: Method, taken: Taken, accepted: bool) -> bool:
        """Let a step of a shared clock wait to be looked into with others, where it does not stop at its end.

        Raises
        ------
        AnewError
            If one that waited should have stopped the solve.
        """
        y, y_end = taken.y, taken.step.y
        if not (self._calm and self._waiting.takes(tableau, y)):
            return False
        if not accepted or self._stops:
            values = self.conditions.values(torch.full((), taken.t_next, dtype=torch.float64, device=y.device), y_end)
            if accepted:
                quiet = bool((torch.sign(values) == self._signs).all())
            else:
                start = torch.full((), taken.t, dtype=torch.float64, device=y.device)
                quiet = not bool((values * self.conditions.values(start, y) < 0).any())
            if not quiet:
                self.settle(rhs, tableau)
                return False
        if accepted and self._waiting.add(taken):
            self.settle(rhs, tableau)
        return True

    def settle(self, rhs: Rhs, tableau: Method) -> None:
        """Look into the steps that wait.

        Raises
        ------
        AnewError
            If one of them should have stopped the solve.
        """
        if not len(self._waiting):
            return
        with torch.no_grad():
            steps, dense, values = self._waiting.looked(rhs, tableau)
            signs = torch.sign(values)
            row = 0
            while row < len(steps):
                same = (signs[row:] == self._signs[:, 0]).all(-1).all(-1)
                quiet = len(steps) - row if bool(same.all()) else int(same.long().argmin())
                row += quiet
                if quiet:
                    self._values = values[row - 1, -1][:, None]
                if row < len(steps):
                    self._looked_into(steps[row], dense[:, row], values[row, :, :, None])
                    row += 1

    def _looked_into(self, taken: Taken, dense: Tensor, values: Tensor) -> None:
        """Look into one of the steps that waited."""
        fired, step = len(self.firings), StepInterpolant.on(taken[:3], taken.y, dense, taken.step.y)
        held = self._seen(step, self._going, dense[0], values)
        if bool(held.any()):
            raise AnewError
        if len(self.firings) > fired:
            self.fired[taken.t] = (taken.y, dense, taken.step.y)

    def _scouted(self, chord: StepInterpolant, groups: Tensor) -> Tensor:
        """Look at the ends of rejected attempts; stop groups where these fail on a discontinuity not known yet."""
        values = self.conditions.values(*chord.at(torch.ones_like(chord.t)))
        looks = Looks([self._values, values], [self._signs, torch.sign(values)])
        crosses = groups & (self.sides == 0) & (looks.signs[0] * looks.signs[1] < 0)
        stopped = torch.zeros_like(groups)
        for index in crosses.any(1).nonzero().flatten().tolist():
            theta = chord_crossing(self.conditions, chord, index, looks, crosses[index])
            stopped |= self._probed(chord, index, torch.where(crosses[index], theta, 0.0), crosses[index])
        return stopped

    def _probed(self, step: StepInterpolant, index: int, theta: Tensor, groups: Tensor) -> Tensor:
        """Stop groups at the step's start where the right-hand side is discontinuous at an event; return which."""
        places = step.at(theta.reshape(step.t.shape))
        with self._statistics.preserved():
            jumps = groups & discontinuous(self.conditions, index, *places, step.h)
        self.discovered[index] |= jumps
        self.stop = torch.where(jumps, step.t.reshape(-1), self.stop)
        return jumps

    def _seen(self, step: StepInterpolant, watched: Tensor, k_end: Tensor, seen: Tensor) -> Tensor:
        """Go through the conditions' values ``seen`` in accepted attempts; return which groups do not keep theirs."""
        looks = self._looked(step, watched, seen)
        landed = self._landing.arrived(self.conditions, step, self.sides, k_end, watched)
        crossings = crossings_of(self.conditions, step, looks, watched, landed)
        held = torch.zeros_like(watched)
        for crossing in crossings:
            free = torch.isfinite(crossing.t) & (self.sides[crossing.event] == 0)
            if bool(free.any()):
                at = torch.where(free, crossing.t, step.t.reshape(-1)).reshape(step.t.shape)
                held |= self._probed(step, crossing.event, step.place(at), free)
        if crossings:
            held |= self._fire(step, crossings, landed, ~held)
        held |= self._landing.missed(watched & ~held & torch.isnan(self.stop))
        keeps = watched & ~held
        self._values = torch.where(keeps, looks.values[-1], self._values)
        self._signs = torch.where(keeps, looks.signs[-1], self._signs)
        self._noise = torch.where(keeps & (self._values.abs() > self._noise), 0.0, self._noise)
        self._steady = self._landing.idle and not bool((self._noise > 0).any())
        self._calm = self._steady and not bool(((self._signs == 0) | (self.sides != 0)).any())
        return held

    def _looked(self, step: StepInterpolant, watched: Tensor, seen: Tensor) -> Looks:
        """Return the values and signs of a step from its start on."""
        values, signs = [self._values], [self._undecided(step)]
        for point, at_point in zip(POINTS, seen, strict=True):
            self.conditions.check(at_point, (step.t + point * step.h).reshape(-1), watched)
            values.append(at_point)
            signs.append(self._sign(at_point, signs[-1]))
        return Looks(values, signs)

    def _undecided(self, step: StepInterpolant) -> Tensor:
        """Return the signs at a step's start; where they are not known yet, those which they take next."""
        signs = self._signs
        if bool((signs == 0).any()):
            for point in _EARLY:
                early = self.conditions.values(*step.at(torch.full_like(step.t, point)))
                signs = torch.where(signs == 0, self._sign(early, signs), signs)
        return signs

    def _sign(self, values: Tensor, before: Tensor) -> Tensor:
        """Return the signs of values; of those that started at zero, once they have left what is rounding there."""
        return torch.where(values.abs() < self._noise, before, torch.sign(values))

    def _fire(self, step: StepInterpolant, crossings: list[Crossing], landed: Tensor, groups: Tensor) -> Tensor:
        """Let events fire in some groups; return which do not keep their step.

        Where the first that stops a group is one that the right-hand side switches at, the group is first made to land
        there: the crossing was found with stages that had reached over the surface.
        """
        direction, switching = torch.sign(step.h).reshape(-1), self.sides != 0
        tie = tie_of(step.t, step.h).reshape(-1)
        crossings = [one._replace(t=torch.where(groups, one.t, torch.inf)) for one in crossings]
        chosen = choose(self.conditions.events, crossings, self.counts, switching, direction, tie)
        stops = chosen.first >= 0
        first = chosen.first.clamp(min=0)[None]
        aimed = stops & switching.gather(0, first)[0] & ~landed.gather(0, first)[0]
        self._landing.aim_at(chosen.stop, aimed)
        self.counts = torch.where(aimed, self.counts, chosen.counts)
        for firing in chosen.firings:
            kept = ~aimed[firing.groups]
            if bool(kept.any()):
                self.firings.append(Firing(firing.event, *(part[kept] for part in firing[1:])))
        stops = stops & ~aimed
        if bool(stops.any()):
            before, after = signs_around(self.conditions, step, chosen.stop, stops)
            self._tied = torch.where(stops, (before != after) | chosen.stopping, self._tied)
            self._at_stop = torch.where(stops, after, self._at_stop)
        self.stop = torch.where(stops, chosen.stop, self.stop)
        self.stopping |= chosen.stopping & ~chosen.silent & stops
        self.silent |= chosen.silent & stops
        self.first = torch.where(stops, chosen.first, self.first)
        return aimed | (stops & (self.stop != step.t_next.reshape(-1)))

    def carry(self, t: Tensor, y: Tensor) -> Carried:
        """Return what to know behind a jump at the stops, where the states are ``y``."""
        with torch.no_grad():
            return Carried.behind(self.conditions.values(t, y.detach()), self._at_stop, self._tied)
