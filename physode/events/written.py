"""The outputs of a solve with events, handed on as its pieces end."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.solvers.online_output import Receiver

__all__ = ["Written"]


class Written:
    """Takes the place of :class:`~physode.events.joined.Rows` where outputs are not to stay in memory.

    Of a piece the outputs are in memory until it ends.
    """

    def __init__(self, t: Tensor, y0: Tensor, receiver: Receiver) -> None:
        self._t, self._y0, self._receiver = t.detach(), y0.detach(), receiver
        everyone = torch.ones_like(self._t[:1], dtype=torch.bool)
        self._hand_on(self._y0[None], [0], everyone)

    def put(
        self, states: Tensor, shown: list[int], start: Tensor, end: Tensor, going: Tensor, direction: Tensor
    ) -> None:
        """Hand on those of the rows ``shown`` that lie behind a group's start and not behind its end."""
        times = self._t[shown]
        here = going & (direction * (times - start) > 0) & (direction * (end - times) >= 0)
        if bool(here.any()):
            self._hand_on(states[: len(shown)].detach(), shown, here)

    def _hand_on(self, states: Tensor, shown: list[int], here: Tensor) -> None:
        if here.ndim == 1:  # those of one clock follow one another
            first = int(here.nonzero()[0])
            self._receiver.take(shown[first], states[here])
            return
        groups, index = here.T.nonzero().unbind(1)
        rows = torch.tensor(shown, device=here.device)
        self._receiver.take_some(rows[index], groups, states[index, groups])

    def outputs(self) -> Tensor:
        """Return that none is kept."""
        return self._y0.new_empty(0)
