"""Motion from a scalar energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Hamiltonian", "SecondOrder", "halves", "joined"]


class Hamiltonian(nn.Module):
    r"""Hamilton's equations of an energy, which may be learnt (Greydanus et al. 2019, Eq. 2).

    .. math:: \dot q = \frac{\partial H}{\partial p}, \qquad \dot p = -\frac{\partial H}{\partial q}

    Parameters
    ----------
    energy
        ``energy(q, p, *args)``: a module or any callable in PyTorch, with one number for each sample; samples must not
        act on one another. It needs derivatives once more than are asked of the solution.
    separable
        Whether the energy is :math:`T(p) + V(q)`, so that symplectic methods (``"leapfrog"``, ``"yoshida4"``) apply;
        a solve with one of them checks it where it starts.

    Notes
    -----
    The state is a pair (q, p) of tensors, or one tensor (..., 2 D) with q in the first half of its last axis. Leading
    axes are batch. Further arguments come from ``solve``'s ``args``.

    Examples
    --------
    >>> import torch, physode as po
    >>> pendulum = po.rhs.Hamiltonian(lambda q, p: (p**2 / 2 - torch.cos(q)).sum(-1), separable=True)
    >>> sol = po.solve(pendulum, torch.tensor([1.0, 0.0]), [0.0, 10.0], method="leapfrog", step_size=0.01)
    >>> abs(float(pendulum.energy_of(sol.y[-1]) - pendulum.energy_of(sol.y[0]))) < 1e-4
    True
    """

    def __init__(self, energy: Callable[..., Tensor], *, separable: bool = False) -> None:
        super().__init__()
        self.energy = energy
        self.separable = bool(separable)

    def forward(self, t: Tensor, y: Any, *args: Any) -> Any:
        """Return dy/dt, in the structure of ``y``."""
        by_q, by_p = torch.func.grad(self._total, argnums=(0, 1))(*halves(y), *args)
        return joined(y, by_p, -by_q)

    def velocity(self, t: Tensor, p: Tensor, *args: Any) -> Tensor:
        """Return dq/dt of a separable energy."""
        found: Tensor = torch.func.grad(self._total, argnums=1)(torch.zeros_like(p), p, *args)
        return found

    def force(self, t: Tensor, q: Tensor, *args: Any) -> Tensor:
        """Return dp/dt of a separable energy."""
        found: Tensor = torch.func.grad(self._total)(q, torch.zeros_like(q), *args)
        return -found

    def energy_of(self, y: Any, *args: Any) -> Tensor:
        """Return the energy of a state."""
        return self.energy(*halves(y), *args)

    def invariants(self, y: Any, *args: Any) -> dict[str, Tensor]:
        """Return what a solution conserves: the energy."""
        return {"energy": self.energy_of(y, *args)}

    def _total(self, q: Tensor, p: Tensor, *args: Any) -> Tensor:
        value = self.energy(q, p, *args)
        if not isinstance(value, Tensor):
            raise TypeError(f"`energy` must return a tensor, one number a sample, got {type(value).__name__}")
        return value.sum()


class SecondOrder(nn.Module):
    r"""Motion under an acceleration that depends on positions alone.

    .. math:: \dot q = v, \qquad \dot v = a(t, q)

    Parameters
    ----------
    acceleration
        ``acceleration(t, q, *args)``, shaped like ``q``: a module or any callable in PyTorch.

    Notes
    -----
    The state is a pair (q, v) of tensors of one shape, or one tensor (..., 2 D) with q in the first half of its last
    axis. Further arguments come from ``solve``'s ``args``.
    """

    separable = True

    def __init__(self, acceleration: Callable[..., Tensor]) -> None:
        super().__init__()
        self.acceleration = acceleration

    def velocity(self, t: Tensor, p: Tensor, *args: Any) -> Tensor:
        """Return dq/dt, which is the velocity itself."""
        return p

    def force(self, t: Tensor, q: Tensor, *args: Any) -> Tensor:
        """Return dv/dt."""
        return self.acceleration(t, q, *args)

    def forward(self, t: Tensor, y: Any, *args: Any) -> Any:
        """Return dy/dt, in the structure of ``y``."""
        q, v = halves(y)
        return joined(y, self.velocity(t, v, *args), self.force(t, q, *args))


def halves(y: Any) -> tuple[Tensor, Tensor]:
    """Return positions and momenta of a pair (tuple, list or dict), or of the two halves of a tensor's last axis.

    Raises
    ------
    ValueError
        If there are no two halves.
    """
    if isinstance(y, Tensor):
        if y.ndim == 0 or y.shape[-1] % 2:
            raise ValueError(f"`y` must have positions and momenta along its last axis, got the shape {tuple(y.shape)}")
        q, p = torch.split(y, y.shape[-1] // 2, -1)
        return q, p
    parts = list(y.values()) if isinstance(y, dict) else list(y)
    if len(parts) != 2:
        raise ValueError(f"`y` must be a pair of positions and momenta, got {len(parts)} parts")
    return parts[0], parts[1]


def joined(y: Any, q: Tensor, p: Tensor) -> Any:
    """Return a pair in the structure of ``y``."""
    if isinstance(y, Tensor):
        return torch.cat((q, p), -1)
    if isinstance(y, dict):
        return dict(zip(y, (q, p), strict=True))
    return type(y)(q, p) if hasattr(y, "_fields") else type(y)((q, p))
