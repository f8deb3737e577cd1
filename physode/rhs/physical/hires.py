"""HIRES: eight reactants of a plant's response to light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.preset import Preset

__all__ = ["Hires"]


class Hires(System):
    r"""High irradiance responses of photomorphogenesis (Schaefer 1975), stiff, as in the Test Set for IVP Solvers.

    .. math::

        \dot y_1 &= -1.71 y_1 + 0.43 y_2 + 8.32 y_3 + 0.0007, &
        \dot y_5 &= -1.745 y_5 + 0.43 (y_6 + y_7), \\
        \dot y_2 &= 1.71 y_1 - 8.75 y_2, &
        \dot y_6 &= -280 y_6 y_8 + 0.69 (y_4 + y_7) + 1.71 y_5 - 0.43 y_6, \\
        \dot y_3 &= -10.03 y_3 + 0.43 y_4 + 0.035 y_5, &
        \dot y_7 &= 280 y_6 y_8 - 1.81 y_7, \\
        \dot y_4 &= 8.32 y_2 + 1.71 y_3 - 1.12 y_4, &
        \dot y_8 &= -\dot y_7

    The state has shape (..., 8).
    """

    name = "hires"
    columns = tuple(f"y{i}" for i in range(1, 9))
    units = ("",) * 8
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
            t_end=321.8122,
            points=1000,
            description="as in the Test Set for IVP Solvers; a problem for implicit methods",
        ),
    }

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        y1, y2, y3, y4, y5, y6, y7, y8 = y.unbind(-1)
        bound = 280.0 * y6 * y8 - 1.81 * y7
        return torch.stack(
            (
                -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
                1.71 * y1 - 8.75 * y2,
                -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
                8.32 * y2 + 1.71 * y3 - 1.12 * y4,
                -1.745 * y5 + 0.43 * (y6 + y7),
                -280.0 * y6 * y8 + 0.69 * (y4 + y7) + 1.71 * y5 - 0.43 * y6,
                bound,
                -bound,
            ),
            -1,
        )
