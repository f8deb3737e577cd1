"""Counting what a right-hand side is asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Counted"]


class Counted(torch.nn.Module):
    """A right-hand side that counts its calls and the rows (samples) in them; never timed.

    torchdiffeq tells its verdicts to methods of the right-hand side that are called ``callback_...``.
    """

    def __init__(self, f: torch.nn.Module) -> None:
        super().__init__()
        self.f = f
        self.calls = self.rows = self.accepted = self.rejected = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        self.rows += len(y) if y.ndim > 1 else 1
        found: Tensor = self.f(t, y)
        return found

    def callback_accept_step(self, *_: Any) -> None:
        self.accepted += 1

    def callback_reject_step(self, *_: Any) -> None:
        self.rejected += 1
