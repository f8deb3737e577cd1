"""Bodies by the logarithmic Hamiltonian, whose own time slows down where they meet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physode.rhs.physical.n_body import NBody

__all__ = ["LogarithmicNBody"]


class LogarithmicNBody(nn.Module):
    r"""The motion of an :class:`NBody` over :math:`s`, with :math:`ds = U \, dt` (Mikkola & Tanikawa 1999).

    With the kinetic energy :math:`T(v)`, the potential energy :math:`-U(r)` and the binding energy
    :math:`w = U - T`, the Hamiltonian :math:`\ln(T + w) - \ln U` is 0 on the true motion, which it gives as

    .. math::

        \frac{dr}{ds} = \frac{K v}{T + w}, \qquad \frac{dt}{ds} = \frac{1}{T + w}, \qquad
        \frac{dv}{ds} = \frac{a(r)}{U}, \qquad \frac{dw}{ds} = 0 .

    It is separable. Equal steps in :math:`s` are short in time where bodies are near one another, and leapfrog's points
    on a two-body orbit lie on the exact orbit, however thin; only their times have an error. That holds of drift, kick,
    drift; so the state has velocities before positions, :math:`(v, w, r, t)`, (..., 6 n + 2), and kicks and drifts of
    ``"leapfrog"`` change their roles. :meth:`start` makes the state, :meth:`split` takes it apart.

    Parameters
    ----------
    bodies
        The bodies; two of them at least with a mass.
    """

    separable = True

    def __init__(self, bodies: NBody) -> None:
        super().__init__()
        self.bodies = bodies

    def start(self, y: Tensor, t: Tensor) -> Tensor:
        """Return the state (..., 6 n + 2) of the bodies' state `y`, (..., 6 n), at time `t`, (...)."""
        r, v = torch.split(y, y.shape[-1] // 2, -1)
        binding = -self.bodies.potential(r) - self.bodies.kinetic(v)
        return torch.cat((v, binding[..., None], r, t.to(y.dtype).expand_as(binding)[..., None]), -1)

    def split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bodies' state (..., 6 n) and the time (...)."""
        moving, place = torch.split(state, state.shape[-1] // 2, -1)
        return torch.cat((place[..., :-1], moving[..., :-1]), -1), place[..., -1]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the state's derivative by s; `t`, which is s, plays no part."""
        moving, place = torch.split(y, y.shape[-1] // 2, -1)
        return torch.cat((self.velocity(t, place), self.force(t, moving)), -1)

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """Return the derivative of velocities and binding energy, from positions and time."""
        r = p[..., :-1]
        a = self.bodies.force(t, r) / -self.bodies.potential(r)[..., None]
        return torch.cat((a, torch.zeros_like(p[..., -1:])), -1)

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """Return the derivative of positions and time, from velocities and binding energy."""
        v, w = q[..., :-1], q[..., -1:]
        pace = 1.0 / (self.bodies.kinetic(v)[..., None] + w)
        return torch.cat((self.bodies.velocity(t, v) * pace, pace), -1)
