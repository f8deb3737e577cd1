r"""Right-hand sides that are discontinuous where an event's condition :math:`g` is zero.

A round of a solve lies on one side of such a surface, where :math:`s g > 0` with :math:`s = \pm 1`. Stages of a step
that reach over it, and a round's start and end, which lie on it up to rounding, must see the right-hand side of that
side. So f is evaluated at a place that is moved along the gradient of :math:`g`,

.. math::
    (t, y) \to (t, y) + (s \varepsilon - g) \frac{\nabla g}{|\nabla g|^2}
    \quad \text{where} \quad s g < \varepsilon ,

with :math:`\varepsilon` the rounding of :math:`g`, and the derivatives there are taken for those at :math:`(t, y)`: the
continuation of f that a round's gradient needs. At the surface the time, and the state with it, have the gradients of
the event; so the rounds together have those of the whole (saltation; di Bernardo et al., Piecewise-smooth Dynamical
Systems, 2008, Sect. 2.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import torch
from torch import Tensor

from physode.autograd import transformed
from physode.events.conditions import Conditions, summed
from physode.events.event import Event
from physode.problem.dynamics import Dynamics
from physode.solvers.clock import Number, expand
from physode.solvers.interpolation import StepInterpolant

__all__ = ["Landing", "Sided", "beside", "discontinuous", "on_sides", "sides_from"]


_ROUNDS = 4  # of Newton's method: stages that reach far over a curved surface are those of steps to be shortened
_SMALL = 1e-2  # of the root of the rounding error: relative differences from there on are discontinuities
_FAR = 1e3  # roundings from the surface, nearer than which they are computed anew


@dataclass
class Sided(Dynamics):
    """A right-hand side that is held on its sides of the surfaces of events.

    Attributes
    ----------
    events
        All events of the solve.
    sides
        ``(events, groups)``: 1 or -1 where it is held, 0 where not.
    """

    events: Sequence[Event] = ()
    sides: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    _noise: dict[int, Tensor] = field(default_factory=dict, compare=False)

    def placed(self, t: Number, y: Tensor) -> tuple[Number, Tensor]:
        """Return the place moved to where ``f`` is to be evaluated; its derivative is the identity."""
        with torch.no_grad():
            time = t.detach() if isinstance(t, Tensor) else torch.full((), t, dtype=torch.float64, device=y.device)
            state = y.detach()
            at, there = time, state
            for index in self._surfaces:
                at, there = self._beside(index, at, there)
        if at is not time:
            t = t + (at - time).detach() if isinstance(t, Tensor) else at
        return t, y if there is state else y + (there - state).detach()

    def placed_half(self, t: Number, q: Tensor, p: Tensor, *, first: bool) -> tuple[Number, Tensor]:
        """Return the time and the half of the state that the whole one is moved to."""
        t, y = self.placed(t, torch.cat((q, p), -1))
        return t, y[..., : q.shape[-1]] if first else y[..., q.shape[-1] :]

    @cached_property
    def _surfaces(self) -> list[int]:
        surfaces: list[int] = (self.sides != 0).any(1).nonzero().flatten().tolist()
        return surfaces

    def _beside(self, index: int, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        conditions, side = Conditions(self.events, self), self.sides[index].reshape(t.shape)
        if not transformed():
            value, noise = side * conditions.value(index, t, y), self._noise.get(index)
            if noise is not None and bool(((value >= _FAR * noise) | (side == 0)).all()):
                return t, y
            self._noise[index] = conditions.noise(index, t, y)
        return beside(conditions, index, t, y, side)


def beside(conditions: Conditions, index: int, t: Tensor, y: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place nearest to ``(t, y)`` on one side of an event's surface; the same tensors where it is there.

    Parameters
    ----------
    side
        1 or -1, one a group; 0 for groups that may be anywhere.
    """
    slopes = conditions.slopes(index, t, y)
    noise = conditions.noise(index, t, y, slopes)
    return _moved(conditions, index, (t, y), side, slopes, noise)


def _moved(
    conditions: Conditions,
    index: int,
    place: tuple[Tensor, Tensor],
    side: Tensor,
    slopes: tuple[Tensor, Tensor],
    least: Tensor,
    most: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return a place moved to where the condition is, on a side, between ``least`` and ``most`` from zero."""
    t, y = place
    for left in reversed(range(_ROUNDS)):
        value = side * conditions.value(index, t, y)
        misses = (side != 0) & ~((value >= least) if most is None else ((value >= least) & (value <= most)))
        if not transformed() and not bool(misses.any()):
            break
        by_t, by_y = slopes
        square = by_t.square() + summed((by_y.conj() * by_y).real if by_y.is_complex() else by_y.square(), t)
        share = torch.where(misses & (square > 0), side * (2 * least - value) / square, 0.0)
        t = t + share * by_t
        y = y + expand(share.to(y.dtype), y.ndim) * by_y
        if left == 1:
            slopes = conditions.slopes(index, t, y)
    return t, y


def on_sides(dynamics: Dynamics, events: Sequence[Event], sides: Tensor) -> Dynamics:
    """Return the right-hand side held on the ``sides`` of events, ``(events, groups)``; as it is where these are 0."""
    if not bool((sides != 0).any()):
        return dynamics
    given = {part.name: getattr(dynamics, part.name) for part in fields(Dynamics)}
    return Sided(**given, events=events, sides=sides)


def discontinuous(conditions: Conditions, index: int, t: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """Whether the right-hand side is discontinuous at places on an event's surface, ``(groups,)``.

    It is where its values beside the surface differ as much far away, as rounding goes, as near by: between places
    that close a smooth function's differences are as their distances. Differences that change the state by no more than
    rounding in a step of the size ``h`` do not count.
    """
    one = torch.ones_like(t)
    eps = torch.finfo(conditions.dynamics.dtype).eps

    slopes = conditions.slopes(index, t, y)
    noise = conditions.noise(index, t, y, slopes)

    def difference(distance: float) -> tuple[Tensor, Tensor]:
        far = distance * noise
        places = (_moved(conditions, index, (t, y), side, slopes, far, 3 * far) for side in (-one, one))
        below, above = (conditions.dynamics(*place) for place in places)
        return above - below, above.abs() + below.abs()

    near, size = difference(1.0)
    least = torch.maximum(_SMALL * eps**0.5 * size, eps * y.abs() / expand(h.abs(), y.ndim))
    jumps = near.abs() > least
    if not bool(jumps.any()):
        return torch.zeros_like(t, dtype=torch.bool).reshape(-1)
    jumps &= (difference(32.0)[0] - near).abs() <= near.abs() / 4
    return summed(jumps, t).reshape(-1) > 0


def sides_from(
    dynamics: Dynamics,
    events: Sequence[Event],
    t: Tensor,
    y: Tensor,
    sides: Tensor,
    residual: Tensor,
    direction: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the sides of events' surfaces that groups go on from, and which groups cannot leave a surface.

    Away from a surface a state's side is that where it is. On it, a side is one to go on from if the right-hand side
    there does not lead back.

    Parameters
    ----------
    sides
        ``(events, groups)``: where groups are thought to be, NaN where that is not known, 0 where nothing is held.
    residual
        How far conditions are from zero where they count as zero, ``(events, groups)``; negative for rounding only.
    direction
        The sign of each group's time.
    """
    plain = Conditions(events, dynamics)
    values = plain.values(t, y)
    chosen = torch.where(torch.isnan(sides), torch.where(values < 0, -1.0, 1.0), sides)
    sliding = torch.zeros_like(chosen[0], dtype=torch.bool)
    for index in (sides != 0).any(1).nonzero().flatten().tolist():
        noise = torch.maximum(4 * plain.noise(index, t, y).reshape(-1), 2 * residual[index])
        near = (sides[index] != 0) & (values[index].abs() <= noise)
        if not bool(near.any()):
            continue
        leaves = []
        for side in (-1.0, 1.0):
            trial = chosen.clone()
            trial[index] = torch.where(near, side, chosen[index])
            held = on_sides(dynamics, events, trial)
            ahead = Conditions(events, held).tendency(index, t, y, held(t, y)) * direction
            leaves.append(side * ahead.reshape(-1) >= 0)
        below, above = leaves
        sliding |= near & ~below & ~above
        chosen[index] = torch.where(near & (below ^ above), torch.where(above, 1.0, -1.0), chosen[index])
    return chosen, sliding


_MOST = 16  # attempts at a landing
_NEAR = 1e-12  # of the step, beside the clock's resolution
_RESOLUTION = 4 * torch.finfo(torch.float64).eps


@dataclass
class Landing:
    """Where groups are made to end their step, ``(groups,)`` each.

    Attributes
    ----------
    aim
        The time of the surface as far as it is known, NaN where there is none.
    end
        Where the group would end otherwise.
    """

    aim: Tensor
    end: Tensor
    _tries: Tensor
    _next: Tensor = field(init=False)
    _at: Tensor = field(init=False)

    @classmethod
    def nowhere(cls, like: Tensor) -> Landing:
        """Return that no group is to land; ``like`` is NaN in each."""
        return cls(like.clone(), like.clone(), torch.zeros_like(like))

    @property
    def idle(self) -> bool:
        """Whether no group is to land."""
        return bool(torch.isnan(self.aim).all())

    def until(self, t1: Number, target: Tensor) -> None:
        """Note where groups without a target end."""
        ends = torch.as_tensor(t1, dtype=torch.float64, device=target.device).detach().reshape(-1)
        self.end = torch.where(torch.isnan(target), ends, self.end)

    def aim_at(self, t: Tensor, groups: Tensor) -> None:
        """Let groups end their step at a time."""
        self.aim = torch.where(groups, t, self.aim)
        self._tries = self._tries + groups

    def arrived(
        self, conditions: Conditions, step: StepInterpolant, sides: Tensor, k_end: Tensor, watched: Tensor
    ) -> Tensor:
        """Return the surfaces that groups have landed on at the end of an attempt, ``(events, groups)``.

        By the conditions' rates it is known when they are zero: in no time, as far as counts, or when to try next.
        """
        landed = torch.zeros_like(sides, dtype=torch.bool)
        self._at, self._next = watched & (step.t_next.reshape(-1) == self.aim), self.end
        if not bool(self._at.any()):
            return landed
        direction = torch.sign(step.h).reshape(-1)
        near = _NEAR * step.h.abs().reshape(-1) + _RESOLUTION * step.t_next.abs().reshape(-1)
        soonest = torch.full_like(self.aim, torch.inf)
        for index in ((sides != 0) & self._at).any(1).nonzero().flatten().tolist():
            value = conditions.value(index, step.t_next, step.end).reshape(-1)
            rate = conditions.rates(index, step.t_next, step.end, k_end).reshape(-1) * direction
            delay = (-value / rate).detach()
            leaves = self._at & (sides[index] * rate < 0)
            landed[index] = leaves & (delay.abs() <= near)
            landed[index] |= self._at & (self._tries >= _MOST) & (sides[index] * value <= 0)
            soonest = torch.where(leaves & (delay > 0), torch.minimum(soonest, delay), soonest)
        later = step.t_next.reshape(-1) + direction * soonest
        self._next = torch.where(direction * (self.end - later) > 0, later, self.end)
        self._at &= ~landed.any(0)
        return landed

    def missed(self, groups: Tensor) -> Tensor:
        """Let groups that have come to their aim before the surface try again, later; return which.

        At their end, or where the surface is not met any more, they go on without an aim.
        """
        missed = groups & self._at
        again = missed & (self._next != self.aim) & (self._tries < _MOST)
        if bool(missed.any()):
            self.aim = torch.where(missed, torch.where(again, self._next, torch.nan), self.aim)
            self._tries = torch.where(missed & ~again, 0, self._tries + again)
        return again
