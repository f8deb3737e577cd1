"""Landing on the surfaces that a right-hand side is discontinuous at, which attempts reach over.

Where an attempt reaches over a surface, its stages see the right-hand side as it is at the surface, held there, so that
the crossing found on its interpolant is one of first order only. The step is taken again to end there, and again from
where that was found to miss: each time it reaches over by less.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.solvers.clock import Number
from physode.solvers.interpolation import StepInterpolant

__all__ = ["Landing"]

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
            delay = -value / rate
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
