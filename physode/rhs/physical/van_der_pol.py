"""The van der Pol oscillator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names
from physode.rhs.preset import Preset

__all__ = ["VanDerPol"]


class VanDerPol(System):
    r"""Van der Pol's oscillator, whose damping changes sign where :math:`y_1^2` crosses a threshold.

    .. math::

        \dot y_1 = y_2, \qquad \dot y_2 = \mu (a - y_1^2) y_2 - y_1

    Textbooks have the threshold :math:`a = 1`; the ACA paper (Eqs. 81-82) has :math:`\mu = 1, a = 0.15`. The limit
    cycle has an amplitude near :math:`2 \sqrt a` while :math:`\mu a` is small. The state is :math:`(y_1, y_2)`, shape
    (..., 2).

    Parameters
    ----------
    mu
        Strength of the damping; a number, or (batch,).
    threshold
        The value `a`; a number, or (batch,).
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "van_der_pol"
    columns = ("y1", "y2")
    kinematic = ("y1",)
    units = ("", "")
    presets: ClassVar[Mapping[str, Preset]] = {
        "aca": Preset(
            config={"mu": 1.0, "threshold": 0.15},
            y0=(2.0, 0.0),
            t_end=25.0,
            points=1000,
            description="the weakly driven form of the ACA paper, Eqs. 81-82",
        ),
        "classic": Preset(
            config={"mu": 1.0},
            y0=(2.0, 0.0),
            t_end=20.0,
            points=1000,
            description="mu = 1, threshold 1, three turns of the limit cycle",
        ),
        "relaxation": Preset(
            config={"mu": 10.0},
            y0=(2.0, 0.0),
            t_end=40.0,
            points=2000,
            description="mu = 10: slow drifts and fast jumps",
        ),
    }
    mu = Constant()
    threshold = Constant()

    def __init__(
        self,
        mu: ConstantLike = 1.0,
        *,
        threshold: ConstantLike = 1.0,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(learnable=learnable, positive=positive, mu=mu, threshold=threshold)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        mu, threshold = self.mu.to(y.dtype), self.threshold.to(y.dtype)
        y1, y2 = y.unbind(-1)
        return torch.stack((y2, mu * (threshold - y1 * y1) * y2 - y1), -1)
