"""Oscillators of one degree of freedom: harmonic, the pendulum at any amplitude, van der Pol's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import Preset, Span, System
from physode.rhs.constants import Constant

__all__ = ["HarmonicOscillator", "Pendulum", "VanDerPol"]


class HarmonicOscillator(System):
    r"""A linear oscillator with angular frequency :math:`\omega` and damping ratio :math:`\zeta`.

    .. math::

        \dot x = v, \qquad \dot v = -\omega^2 x - 2 \zeta \omega v

    The state is (position, velocity), shape (..., 2).
    """

    name = "harmonic_oscillator"
    columns = ("position", "velocity")
    units = ("", "")
    kinematic = ("position",)
    initial_box = ((-1.0, 1.0), (-1.0, 1.0))
    span = Span(20.0, 500)
    omega = Constant(1.0, "angular frequency without damping")
    damping_ratio = Constant(0.0, "damping ratio, where 0 rings for ever and 1 is critical")

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


class Pendulum(System):
    r"""A point on a massless rod, with friction proportional to its angular velocity.

    .. math::

        \dot\theta = \omega, \qquad \dot\omega = -\frac{g}{L} \sin\theta - c\,\omega

    The state is (angle, angular velocity) in rad and rad/s, shape (..., 2). Only the ratio :math:`g / L` shows in the
    motion: make one of the two learnable, not both.
    """

    name = "pendulum"
    columns = ("angle", "angular_velocity")
    units = ("rad", "rad/s")
    time_unit = "s"
    kinematic = ("angle",)
    initial_box = ((-2.5, 2.5), (-1.0, 1.0))
    span = Span(10.0, 500)
    length = Constant(1.0, "length of the rod", unit="m", domain="nonzero")
    gravity = Constant(9.81, "gravity", unit="m/s^2")
    damping = Constant(0.0, "damping", unit="1/s")

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


class VanDerPol(System):
    r"""Van der Pol's oscillator, whose damping changes sign where :math:`y_1^2` crosses a threshold.

    .. math::

        \dot y_1 = y_2, \qquad \dot y_2 = \mu (a - y_1^2) y_2 - y_1

    Textbooks have the threshold :math:`a = 1`; the ACA paper (Eqs. 81-82) has :math:`\mu = 1, a = 0.15`. The limit
    cycle has an amplitude near :math:`2 \sqrt a` while :math:`\mu a` is small. The state is :math:`(y_1, y_2)`, shape
    (..., 2).
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
    initial_box = ((-3.0, 3.0), (-3.0, 3.0))
    span = Span(20.0, 1000)
    mu = Constant(1.0, "strength of the damping")
    threshold = Constant(1.0, "value of y1^2 at which the damping changes sign")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        mu, threshold = self.mu.to(y.dtype), self.threshold.to(y.dtype)
        y1, y2 = y.unbind(-1)
        return torch.stack((y2, mu * (threshold - y1 * y1) * y2 - y1), -1)
