"""Robertson"s autocatalytic reaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names
from physode.rhs.preset import Preset

__all__ = ["Robertson"]


class Robertson(System):
    r"""Three species whose rates differ by nine powers of ten (Robertson 1966): stiff, over times up to 1e11.

    .. math::

        \dot y_1 = -k_1 y_1 + k_3 y_2 y_3, \qquad \dot y_2 = k_1 y_1 - k_2 y_2^2 - k_3 y_2 y_3, \qquad
        \dot y_3 = k_2 y_2^2

    The sum of the species is conserved. The state is :math:`(y_1, y_2, y_3)`, shape (..., 3).

    Parameters
    ----------
    k1, k2, k3
        Rates of the slow, the very fast and the fast reaction; numbers, or (batch,).
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "robertson"
    columns = ("y1", "y2", "y3")
    units = ("", "", "")
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 0.0, 0.0),
            t_end=1e11,
            points=2,
            description="from the first species to the steady state, t = 1e11; a problem for implicit methods",
        ),
    }
    k1 = Constant()
    k2 = Constant()
    k3 = Constant()

    def __init__(
        self,
        k1: ConstantLike = 0.04,
        k2: ConstantLike = 3e7,
        k3: ConstantLike = 1e4,
        *,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(learnable=learnable, positive=positive, k1=k1, k2=k2, k3=k3)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        k1, k2, k3 = (value.to(y.dtype) for value in self.constants.values())
        a, b, c = y.unbind(-1)
        slow, fastest, fast = k1 * a, k2 * b * b, k3 * b * c
        return torch.stack((fast - slow, slow - fast - fastest, fastest), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        """Return the sum of the species."""
        return {"total": y.sum(-1)}
