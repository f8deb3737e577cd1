"""The Oregonator, a model of the Belousov-Zhabotinsky reaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names
from physode.rhs.preset import Preset

__all__ = ["Oregonator"]


class Oregonator(System):
    r"""Three concentrations of an oscillating reaction (Field & Noyes 1974): stiff, with sudden changes.

    .. math::

        \dot y_1 = s (y_2 - y_1 y_2 + y_1 - q y_1^2), \qquad
        \dot y_2 = (y_3 - y_2 - y_1 y_2) / s, \qquad \dot y_3 = w (y_1 - y_3)

    The state is :math:`(y_1, y_2, y_3)`, shape (..., 3).

    Parameters
    ----------
    s, q, w
        Rates, scaled; numbers, or (batch,).
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "oregonator"
    columns = ("y1", "y2", "y3")
    units = ("", "", "")
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 2.0, 3.0),
            t_end=360.0,
            points=2000,
            description="about one period, as in the Test Set for IVP Solvers; a problem for implicit methods",
        ),
    }
    s = Constant()
    q = Constant()
    w = Constant()

    def __init__(
        self,
        s: ConstantLike = 77.27,
        q: ConstantLike = 8.375e-6,
        w: ConstantLike = 0.161,
        *,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(learnable=learnable, positive=positive, s=s, q=q, w=w)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        s, q, w = (value.to(y.dtype) for value in self.constants.values())
        a, b, c = y.unbind(-1)
        return torch.stack((s * (b - a * b + a - q * a * a), (c - b - a * b) / s, w * (a - c)), -1)
