"""What a piece of a solve with events knows from before the jump that it starts with."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Carried"]


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
