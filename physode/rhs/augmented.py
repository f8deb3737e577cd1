"""Accelerations learnt by a network that is told the distances between the bodies (ACA paper, Eqs. 33-34)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.neural import fully_connected
from physode.rhs.physical.n_body import body_columns

__all__ = ["AugmentedNBody", "pair_features"]


class AugmentedNBody(System):
    r"""Second-order motion whose accelerations are a network of augmented positions (Eq. 34).

    .. math::

        \dot r = K v, \qquad \dot v = \mathrm{FC}(\mathrm{Aug}(r))

    with :func:`pair_features` as Aug and :math:`K` = `velocity_scale`. The state is that of
    :class:`~physode.rhs.NBody`: (..., 6 n). The network sees neither velocities nor masses.

    Parameters
    ----------
    n
        Number of bodies, at least 2.
    hidden
        Widths of hidden layers; the default, none, is the paper's single fully connected layer.
    activation
        Between the layers, one of ``ACTIVATIONS``.
    velocity_scale
        Length unit covered in a time unit at unit velocity.
    """

    name = "augmented_n_body"

    def __init__(
        self, n: int = 3, *, hidden: Sequence[int] = (), activation: str = "tanh", velocity_scale: float = 1.0
    ) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"`n` must be at least 2 bodies, got {n}")
        self.n, self.hidden, self.activation, self.velocity_scale = n, tuple(hidden), activation, velocity_scale
        self.columns, self.units = body_columns(n), ("",) * (6 * n)
        self.layers = fully_connected((3 * n + 12 * n * (n - 1), *self.hidden, 3 * n), activation=activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        r, v = torch.unflatten(y, -1, (2, 3 * self.n)).unbind(-2)
        a: Tensor = self.layers(pair_features(torch.unflatten(r, -1, (self.n, 3))))
        return torch.cat((self.velocity_scale * v, a), -1)

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; the weights are in ``state_dict()``."""
        return {
            "n": self.n,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "velocity_scale": self.velocity_scale,
        }


def pair_features(r: Tensor) -> Tensor:
    r"""Return the augmented input of Eq. 33 for positions `r` of shape (..., n, 3).

    .. math::

        \mathrm{Aug} = \Bigl\{ r_i,\; d_{ij},\; \frac{d_{ij}}{|d_{ij}|},\; \frac{d_{ij}}{|d_{ij}|^2},\;
        \frac{d_{ij}}{|d_{ij}|^3} \Bigr\}_{j \ne i}, \qquad d_{ij} = r_i - r_j

    Returns
    -------
    Tensor
        Shape (..., 3 n + 12 n (n - 1)): the positions, then for each power of the distance from 0 to 3 the ordered
        pairs (1,2), (1,3), ..., (n,n-1), three coordinates each.
    """
    n = r.shape[-2]
    # Bodies with themselves are left out: of the n*n pairs in a row, the first and every (n+1)-th after it.
    d = (r.unsqueeze(-2) - r.unsqueeze(-3)).flatten(-3, -2)[..., 1:, :]
    d = torch.unflatten(d, -2, (n - 1, n + 1))[..., :-1, :].flatten(-3, -2)
    distance = d.square().sum(-1, keepdim=True).sqrt()
    powers = (r, d, d / distance, d / distance.square(), d / (distance.square() * distance))
    return torch.cat([power.flatten(-2) for power in powers], -1)
