"""Where each group of a solve with events is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from physode.events.jumps import Carried
from physode.problem.problem import Problem
from physode.status import Status

__all__ = ["State"]


@dataclass
class State:
    """Times, states and ends of groups, ``(*groups)``; ``counts`` has events and groups as axes.

    ``finite``: the groups that started with a state that is finite. ``sides``: on which side of each event's surface a
    group is, 1 or -1, where the right-hand side is discontinuous there, NaN where that is not known yet; else 0.
    """

    t: Tensor
    y: Tensor
    going: Tensor
    status: Tensor
    ended: Tensor
    counts: Tensor
    carried: Carried
    finite: Tensor
    sides: Tensor

    @classmethod
    def at_start(cls, problem: Problem, events: int) -> State:
        """Return where all groups are before the first piece."""
        t = problem.t[0]
        counts = torch.zeros((events, t.numel()), dtype=torch.int64, device=t.device)
        good = torch.isfinite(problem.y0.detach())
        finite = good.reshape(len(good), -1).all(1) if t.ndim else good.all()
        return cls(
            t, problem.y0, torch.ones_like(t, dtype=torch.bool), torch.zeros_like(t, dtype=torch.int8),
            problem.t[-1].detach().clone(), counts, Carried.nothing(counts), finite,
            torch.zeros_like(counts, dtype=torch.float64),
        )  # fmt: skip

    @property
    def well(self) -> Tensor:
        """Which groups started with a finite state and have not failed."""
        return self.finite & ((self.status == Status.SUCCESS) | (self.status == Status.EVENT))

    def end(self, groups: Tensor, status: Tensor | int, t: Tensor) -> None:
        """Let some groups end."""
        codes = torch.as_tensor(status, device=groups.device).to(torch.int8)
        groups = groups & self.going
        self.status = torch.where(groups, codes, self.status)
        self.ended = torch.where(groups, t, self.ended)
        self.going = self.going & ~groups
