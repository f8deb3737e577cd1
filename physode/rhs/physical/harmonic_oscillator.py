"""The harmonic oscillator, whose solution is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names

__all__ = ["HarmonicOscillator"]


class HarmonicOscillator(System):
    r"""A linear oscillator with angular frequency :math:`\omega` and damping ratio :math:`\zeta`.

    .. math::

        \dot x = v, \qquad \dot v = -\omega^2 x - 2 \zeta \omega v

    The state is (position, velocity), shape (..., 2).

    Parameters
    ----------
    omega
        Angular frequency without damping; a number, or (batch,).
    damping_ratio
        :math:`\zeta`: 0 rings for ever, 1 is critical.
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "harmonic_oscillator"
    columns = ("position", "velocity")
    units = ("", "")
    kinematic = ("position",)
    omega = Constant()
    damping_ratio = Constant()

    def __init__(
        self,
        omega: ConstantLike = 1.0,
        *,
        damping_ratio: ConstantLike = 0.0,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(learnable=learnable, positive=positive, omega=omega, damping_ratio=damping_ratio)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        omega, damping_ratio = self.omega.to(y.dtype), self.damping_ratio.to(y.dtype)
        x, v = y.unbind(-1)
        return torch.stack((v, -omega * (omega * x + 2.0 * damping_ratio * v)), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        r"""Return the energy :math:`(v^2 + \omega^2 x^2) / 2`; nothing where damped."""
        if bool((self.damping_ratio != 0).any()):
            return {}
        x, v = y.unbind(-1)
        return {"energy": 0.5 * (v.square() + (self.omega.to(y.dtype) * x).square())}
