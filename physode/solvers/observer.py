"""Watching a solve from outside its loop: callbacks, events, and whatever ends a solve early."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from physode.solvers.method import Method
from physode.solvers.numbers import Number
from physode.solvers.stepper import Rhs, Step
from physode.solvers.trajectory import Trajectory

__all__ = ["Lookout", "Observer"]


class Observer(Protocol):
    """Told of every attempt of a loop, in order. It changes nothing but may end the solve."""

    def before(self, t: Tensor, y: Tensor, h: Tensor) -> None:
        """Take note of an attempt, about to be made, from time ``t`` and state ``y`` with the signed size ``h``."""

    def after(self, record: Trajectory, accepted: bool) -> bool:
        """Take note of the attempt's verdict; where accepted (by any group), it is the last step of ``record``.

        Returns
        -------
        bool
            Whether the solve shall end here; it counts as successful.
        """


class Lookout(Protocol):
    """Looks into every accepted attempt before it counts, and may give its group an earlier end."""

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
        """Look into an attempt from ``(t, y)`` to ``(t_next, step.y)``.

        Returns
        -------
        accepted, t1
            Which groups keep their accepted attempt; the others make another one towards their new end, which lies
            inside it. The ends of all groups.
        """
