"""A satellite in the field of two bodies on circles, and Arenstorf's closed orbit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import Preset, System
from physode.rhs.constants import Constant

__all__ = ["Arenstorf"]

_ORBIT = Preset(
    config={},
    y0=(0.994, 0.0, 0.0, -2.00158510637908252240537862224),
    t_end=17.0652165601579625588917206249,
    points=1000,
    description="the closed orbit of four loops about Earth and Moon (Hairer, Norsett and Wanner, Sect. II.0)",
)


class Arenstorf(System):
    r"""The restricted three-body problem in the plane, in coordinates that turn with the two heavy bodies.

    .. math::

        \ddot x = x + 2 \dot y - \mu' \frac{x + \mu}{D_1} - \mu \frac{x - \mu'}{D_2}, \qquad
        \ddot y = y - 2 \dot x - \mu' \frac{y}{D_1} - \mu \frac{y}{D_2}

    with :math:`\mu' = 1 - \mu`, :math:`D_1 = ((x + \mu)^2 + y^2)^{3/2}` and :math:`D_2 = ((x - \mu')^2 + y^2)^{3/2}`
    (Hairer, Norsett & Wanner, *Solving ODEs I*, Eq. II.0.1). The state is (x, y, velocity_x, velocity_y), (..., 4);
    lengths in the distance of the heavy bodies, their angular velocity 1.
    """

    name = "arenstorf"
    columns = ("x", "y", "velocity_x", "velocity_y")
    units = ("", "", "", "")
    kinematic = ("x", "y")
    presets: ClassVar[Mapping[str, Preset]] = {"orbit": _ORBIT}
    mu = Constant(0.012277471, "mass of the lighter body, of both together")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        mu = self.mu.to(y.dtype)
        rest = 1.0 - mu
        x, z, u, v = y.unbind(-1)
        first = rest / ((x + mu).square() + z.square()).pow(1.5)
        second = mu / ((x - rest).square() + z.square()).pow(1.5)
        a = x + 2.0 * v - first * (x + mu) - second * (x - rest)
        b = z - 2.0 * u - first * z - second * z
        return torch.stack((u, v, a, b), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        r"""Return Jacobi's integral, :math:`x^2 + y^2 + 2 \mu' / r_1 + 2 \mu / r_2 - \dot x^2 - \dot y^2`, (...)."""
        mu = self.mu.to(y.dtype)
        rest = 1.0 - mu
        x, z, u, v = y.unbind(-1)
        pull = rest / ((x + mu).square() + z.square()).sqrt() + mu / ((x - rest).square() + z.square()).sqrt()
        return {"jacobi": x.square() + z.square() + 2.0 * pull - u.square() - v.square()}
