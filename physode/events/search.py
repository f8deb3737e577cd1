"""The search for events while a solve goes on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.conditions import Conditions
from physode.events.firings import Crossing, Firing, choose, tie_of
from physode.events.roots import refine
from physode.solvers.groups import expand
from physode.solvers.method import Method
from physode.solvers.numbers import Number, anywhere, logical_not
from physode.solvers.stepper import Rhs, Step, interpolant

__all__ = ["Carried", "Search"]

_POINTS = (0.25, 0.5, 0.75, 1.0)  # of a step, where conditions are looked at
_EPS = torch.finfo(torch.float64).eps


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

    @property
    def last(self) -> Tensor:
        """Which groups are stopped by an event that ends them, ``(groups,)``."""
        found = torch.zeros_like(self.first, dtype=torch.bool)
        for index, event in enumerate(self.conditions.events):
            if event.limit is not None:
                found |= self.stopping[index] & (self.counts[index] >= event.limit)
        return found

    def begin(self, t: Tensor, y: Tensor, f: Tensor, carried: Carried) -> None:
        r"""Find the signs that the solve starts with.

        Where a jump has left a condition as near zero as the error of the state there (within twice its residual), the
        sign is the one carried. Where it was crossing zero, or is zero, the sign is that which :math:`\dot g` is about
        to give it.
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
            near = ((self._values == 0) | near) & ~known
            for index in (near & self._going).any(1).nonzero().flatten().tolist():
                rate = self.conditions.rates(index, t, y, f).reshape(-1)
                self._signs[index] = torch.where(near[index], torch.sign(rate), self._signs[index])

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
            piece = _Piece(clock[0], clock[1], clock[2], y, dense, ends)
            crossings = self._crossings(piece, watched)
            if not crossings:
                return accepted, t1
            held = self._fire(piece, crossings)
            if not bool(held.any()):
                return accepted, t1
        if not isinstance(t1, Tensor):
            return False, float(self.stop)
        held = held.reshape(t1.shape)
        return accepted & logical_not(held), torch.where(held, self.stop.reshape(t1.shape), t1)

    def _crossings(self, piece: _Piece, watched: Tensor) -> list[Crossing]:
        """Return the crossings that count, and note the values and signs at the step's end."""
        values, signs, changed = [self._values], [self._signs], []
        wanted = torch.tensor([[event.direction] for event in self.conditions.events], device=watched.device)
        for point in _POINTS:
            time, state = piece.at(torch.full_like(piece.t, point))
            found = self.conditions.values(time, state)
            self._check(found, time.reshape(-1), watched)
            sign = torch.sign(found)
            counts = (wanted == 0) | (wanted == -signs[-1])
            changed.append(watched & counts & (signs[-1] != 0) & (sign != signs[-1]))
            values.append(found)
            signs.append(sign)
        self._values = torch.where(watched, values[-1], self._values)
        self._signs = torch.where(watched, signs[-1], self._signs)
        every = torch.stack(changed)
        some = every.any(-1)
        if not bool(some.any()):
            return []
        places = [(index, j) for j, index in some.nonzero().tolist()]
        return [
            Crossing(index, self._locate(piece, index, j, every[j, index], values, signs[j][index]))
            for index, j in sorted(places)
        ]

    def _locate(
        self, piece: _Piece, index: int, j: int, wanted: Tensor, values: list[Tensor], before: Tensor
    ) -> Tensor:
        """Return the times of one event's crossings between two points of a step, infinite for other groups."""
        low = torch.full_like(values[0][0], 0.0 if j == 0 else _POINTS[j - 1])
        high = torch.full_like(low, _POINTS[j])
        width = 2 * _EPS * piece.t.abs() / torch.where(piece.h == 0, 1.0, piece.h.abs())

        def value(theta: Tensor) -> Tensor:
            return self.conditions.value(index, *piece.at(theta.reshape(piece.t.shape))).reshape(-1)

        at_low, at_high = values[j][index], values[j + 1][index]
        theta = refine(value, low, high, at_low, at_high, before, wanted, width.reshape(-1))
        return torch.where(wanted, piece.time(theta.reshape(piece.t.shape)).reshape(-1), torch.inf)

    def _fire(self, piece: _Piece, crossings: list[Crossing]) -> Tensor:
        """Let events fire; return which groups are stopped inside the step."""
        direction = torch.sign(piece.h).reshape(-1)
        chosen = choose(self.conditions.events, crossings, self.counts, direction, tie_of(piece.t, piece.h).reshape(-1))
        self.counts = chosen.counts
        self.firings += chosen.firings
        held = chosen.first >= 0
        before, after = self._signs_around(piece, chosen.stop, held)
        self._tied = torch.where(held, (before != after) | chosen.stopping, self._tied)
        self._at_stop = torch.where(held, after, self._at_stop)
        self.stop = torch.where(held, chosen.stop, self.stop)
        self.stopping |= chosen.stopping
        self.first = torch.where(held, chosen.first, self.first)
        return held

    def _signs_around(self, piece: _Piece, stop: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Return the signs of the conditions just before and just behind the stops of groups, ``(events, groups)``."""
        if not bool(held.any()):
            return self._at_stop, self._at_stop
        size = torch.where(piece.h == 0, 1.0, piece.h)
        tie = 2 * tie_of(piece.t, piece.h) / size.abs()
        theta = torch.where(held.reshape(tie.shape), (stop.reshape(tie.shape) - piece.t) / size, 0.0)
        sides = [(theta - tie).clamp(min=0.0), (theta + tie).clamp(max=1.0)]
        before, after = (torch.sign(self.conditions.values(*piece.at(side))) for side in sides)
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


class _Piece:
    """A step's interpolant at one place a group."""

    def __init__(self, t: Tensor, h: Tensor, t_next: Tensor, y: Tensor, dense: Tensor, end: Tensor) -> None:
        self.t, self.h, self._t_next = t, h, t_next
        self._y, self._dense, self._end = y, dense.unbind(0), end

    def time(self, theta: Tensor) -> Tensor:
        """Return the time at ``theta``."""
        return torch.where(theta == 1.0, self._t_next, self.t + theta * self.h)

    def at(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time and the state at ``theta``; see :mod:`physode.solvers.interpolation`."""
        left = expand(theta, self._y.ndim).to(self._y.real.dtype if self._y.is_complex() else self._y.dtype)
        state, basis = self._y, left
        for p, coefficient in enumerate(self._dense):
            state = torch.addcmul(state, basis.to(state.dtype), coefficient)
            basis = basis * ((1.0 - left) if p % 2 == 0 else left)
        return self.time(theta), torch.where(left == 1.0, self._end, state)


def _finite(y: Tensor, t: Tensor) -> Tensor:
    """Return which groups have a state, ``(groups,)``; others have failed, which their status tells."""
    return torch.isfinite(y).reshape(t.numel(), -1).all(1)


def _plain(value: Number) -> Number:
    return value.detach() if isinstance(value, Tensor) else value
