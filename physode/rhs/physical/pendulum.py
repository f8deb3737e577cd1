"""The pendulum at any amplitude."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names

__all__ = ["Pendulum"]


class Pendulum(System):
    r"""A point on a massless rod, with friction proportional to its angular velocity.

    .. math::

        \dot\theta = \omega, \qquad \dot\omega = -\frac{g}{L} \sin\theta - c\,\omega

    The state is (angle, angular velocity) in rad and rad/s, shape (..., 2). Only the ratio :math:`g / L` shows in the
    motion: make one of the two learnable, not both.

    Parameters
    ----------
    length
        :math:`L` in m; a number, or (batch,). Not 0.
    gravity
        :math:`g` in m/s^2.
    damping
        :math:`c` in 1/s; 0 for a pendulum that swings for ever.
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "pendulum"
    columns = ("angle", "angular_velocity")
    units = ("rad", "rad/s")
    time_unit = "s"
    kinematic = ("angle",)
    constant_units = MappingProxyType({"length": "m", "gravity": "m/s^2", "damping": "1/s"})
    length = Constant()
    gravity = Constant()
    damping = Constant()

    def __init__(
        self,
        length: ConstantLike = 1.0,
        *,
        gravity: ConstantLike = 9.81,
        damping: ConstantLike = 0.0,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(
            learnable=learnable, positive=positive, length=length, gravity=gravity, damping=damping
        )
        if bool((self.length == 0).any()):
            raise ValueError(f"`length` must not be 0, got {self.length.tolist()}")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        length, gravity, damping = (value.to(y.dtype) for value in self.constants.values())
        angle, velocity = y.unbind(-1)
        return torch.stack((velocity, -(gravity / length) * angle.sin() - damping * velocity), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        r"""Return the energy a unit mass has, :math:`L^2 \omega^2 / 2 + g L (1 - \cos\theta)`; nothing where damped."""
        length, gravity, damping = (value.to(y.dtype) for value in self.constants.values())
        if bool((damping != 0).any()):
            return {}
        angle, velocity = y.unbind(-1)
        return {"energy": 0.5 * (length * velocity).square() + gravity * length * (1.0 - angle.cos())}
