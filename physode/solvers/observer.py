"""Watching a solve from outside its loop: callbacks, and whatever ends a solve early."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from physode.solvers.trajectory import Trajectory

__all__ = ["Observer"]


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
