"""A right-hand side that is nothing but a neural network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from physode.rhs.base import System
from physode.rhs.physical.n_body import body_columns

__all__ = ["ACTIVATIONS", "MLP", "AugmentedNBody", "Hybrid", "fully_connected", "pair_features"]


ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"elu": nn.ELU, "gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "softplus": nn.Softplus, "tanh": nn.Tanh}
)


class MLP(System):
    r"""A fully connected network as the right-hand side: :math:`\dot y = W_L \sigma(\ldots \sigma(W_1 y + b_1)) + b_L`.

    The weights follow torch's default initialisation: call ``torch.manual_seed`` before, and ``.double()`` after, where
    the state is float64.

    Parameters
    ----------
    dim
        Components of the state, along its last axis.
    hidden
        Widths of the hidden layers; ``()`` for a linear right-hand side.
    activation
        One of ``ACTIVATIONS``. A smooth one lets adaptive steps keep their order.
    time
        Whether `t` is a further input of the network.

    Raises
    ------
    ValueError
        If a width is below 1 or the activation is unknown.
    """

    name = "mlp"

    def __init__(
        self, dim: int, *, hidden: Sequence[int] = (64, 64), activation: str = "tanh", time: bool = False
    ) -> None:
        super().__init__()
        self.dim, self.hidden, self.activation, self.time = dim, tuple(hidden), activation, time
        self.columns = tuple(f"y{index}" for index in range(1, dim + 1))
        self.units = ("",) * dim
        self.layers = fully_connected((dim + int(time), *self.hidden, dim), activation=activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        if self.time:
            y = torch.cat((y, t.to(y.dtype).expand(*y.shape[:-1], 1)), -1)
        dy: Tensor = self.layers(y)
        return dy

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; the weights are in ``state_dict()``."""
        return {"dim": self.dim, "hidden": list(self.hidden), "activation": self.activation, "time": self.time}


def fully_connected(widths: Sequence[int], *, activation: str) -> nn.Sequential:
    """Return linear layers from ``widths[0]`` inputs to ``widths[-1]`` outputs, with `activation` between them."""
    if any(width < 1 for width in widths):
        raise ValueError(f"`hidden` and `dim` must be at least 1, got widths {tuple(widths)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be one of: {', '.join(ACTIVATIONS)}; got {activation!r}")
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class AugmentedNBody(System):
    r"""Second-order motion whose accelerations are a network of augmented positions (ACA paper, Eq. 34).

    .. math::

        \dot r = K v, \qquad \dot v = s \, \mathrm{FC}(\mathrm{Aug}(r)), \qquad
        \text{so that} \quad \ddot r = K s \, \mathrm{FC}(\mathrm{Aug}(r))

    with :func:`pair_features` as Aug, :math:`K` = `velocity_scale` and :math:`s` = `acceleration_scale`. The paper's
    :math:`\ddot r = \mathrm{FC}(\mathrm{Aug})` is :math:`s = 1 / K`; with `s` the gravitational constant outputs are
    masses over squared distances. The state is that of :class:`~physode.rhs.NBody`: (..., 6 n). The network sees
    neither velocities nor masses.

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
    acceleration_scale
        Change of velocity in a time unit at an output of 1; 1 / `velocity_scale` where it is None.
    ordered
        Whether features are those of the ordered pairs, as in the paper, or of each pair once: see
        :func:`pair_features`.

    Raises
    ------
    ValueError
        If there are fewer than 2 bodies, or a scale is not finite and above 0.
    """

    name = "augmented_n_body"

    def __init__(
        self,
        n: int = 3,
        *,
        hidden: Sequence[int] = (),
        activation: str = "tanh",
        velocity_scale: float = 1.0,
        acceleration_scale: float | None = None,
        ordered: bool = True,
    ) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"`n` must be at least 2 bodies, got {n}")
        self.n, self.hidden, self.activation, self.ordered = n, tuple(hidden), activation, ordered
        for name, scale in (("velocity_scale", velocity_scale), ("acceleration_scale", acceleration_scale)):
            if scale is not None and not 0 < scale < math.inf:
                raise ValueError(f"`{name}` must be finite and above 0, got {scale!r}")
        self.velocity_scale = velocity_scale
        self.acceleration_scale = 1.0 / velocity_scale if acceleration_scale is None else acceleration_scale
        self.columns, self.units = body_columns(n), ("",) * (6 * n)
        widths = (pair_features_width(n, ordered=ordered), *self.hidden, 3 * n)
        self.layers = fully_connected(widths, activation=activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        r, v = torch.unflatten(y, -1, (2, 3 * self.n)).unbind(-2)
        features = pair_features(torch.unflatten(r, -1, (self.n, 3)), ordered=self.ordered)
        output: Tensor = self.layers(features)
        return torch.cat((self.velocity_scale * v, self.acceleration_scale * output), -1)

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; the weights are in ``state_dict()``."""
        return {
            "n": self.n,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "velocity_scale": self.velocity_scale,
            "acceleration_scale": self.acceleration_scale,
            "ordered": self.ordered,
        }


def pair_features(r: Tensor, *, ordered: bool = True) -> Tensor:
    r"""Return the augmented input of the ACA paper's Eq. 33 for positions `r` of shape (..., n, 3).

    .. math::

        \mathrm{Aug} = \Bigl\{ r_i,\; d_{ij},\; \frac{d_{ij}}{|d_{ij}|},\; \frac{d_{ij}}{|d_{ij}|^2},\;
        \frac{d_{ij}}{|d_{ij}|^3} \Bigr\}_{j \ne i}, \qquad d_{ij} = r_i - r_j

    The pairs (i, j) and (j, i) differ in sign only: a linear layer that sees each pair once can do the same.

    Parameters
    ----------
    r
        Positions, (..., n, 3).
    ordered
        Whether pairs are taken both ways round, as in the equation, or once, i < j.

    Returns
    -------
    Tensor
        Shape (..., 3 n + 12 n (n - 1)), or 3 n + 6 n (n - 1) where pairs are not `ordered`: the positions, then for
        each power of the distance from 0 to 3 the pairs (1,2), (1,3), ..., (n,n-1), three coordinates each.
    """
    n = r.shape[-2]
    if ordered:
        # Bodies with themselves are left out: of the n*n pairs in a row, the first and every (n+1)-th after it.
        d = (r.unsqueeze(-2) - r.unsqueeze(-3)).flatten(-3, -2)[..., 1:, :]
        d = torch.unflatten(d, -2, (n - 1, n + 1))[..., :-1, :].flatten(-3, -2)
    else:
        d = torch.cat([r[..., i : i + 1, :] - r[..., i + 1 :, :] for i in range(n - 1)], -2)
    distance = d.square().sum(-1, keepdim=True).sqrt()
    powers = (r, d, d / distance, d / distance.square(), d / (distance.square() * distance))
    return torch.cat([power.flatten(-2) for power in powers], -1)


def pair_features_width(n: int, *, ordered: bool = True) -> int:
    """Return the number of :func:`pair_features` of `n` bodies."""
    return 3 * n + (12 if ordered else 6) * n * (n - 1)


class Hybrid(System):
    r"""A physical right-hand side plus a network for what it leaves out: :math:`\dot y = f(t, y) + M g(t, y)`.

    :math:`M` keeps the components named by `acts_on`, so that a second-order system's :math:`\dot r = v` stays exact.
    Columns, units, constants and invariants are those of the physics (the remainder may well break the invariants).

    Parameters
    ----------
    physics
        The known part `f`.
    residual
        The learnt part `g`: a module called as ``residual(t, y)`` that returns the shape of `y`.
    acts_on
        Columns that the residual reaches; all by default.
    zero_init
        Start from pure physics: set the residual's last linear layer to zero.

    Raises
    ------
    ValueError
        If `acts_on` names unknown columns, or `zero_init` finds no linear layer.
    """

    name = "hybrid"

    def __init__(
        self,
        physics: System,
        residual: nn.Module,
        *,
        acts_on: Sequence[str] | None = None,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.physics, self.residual, self.zero_init = physics, residual, zero_init
        self.columns, self.units, self.time_unit = physics.columns, physics.units, physics.time_unit
        self.constant_units = dict(physics.constant_units)
        self.acts_on = physics.columns if acts_on is None else tuple(acts_on)
        unknown = [name for name in self.acts_on if name not in physics.columns]
        if unknown:
            raise ValueError(f"`acts_on` names unknown columns {unknown}; choose from {list(physics.columns)}")
        mask = torch.tensor([name in self.acts_on for name in physics.columns])
        self._mask: Tensor | None
        self.register_buffer("_mask", None if bool(mask.all()) else mask, persistent=False)
        if zero_init:
            _zero_last_linear(residual)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        extra: Tensor = self.residual(t, y)
        if self._mask is not None:
            extra = torch.where(self._mask, extra, 0.0)
        dy: Tensor = self.physics(t, y) + extra
        return dy

    @property
    def constants(self) -> dict[str, Tensor]:
        """Current constants of the physics."""
        return self.physics.constants

    def batched(self) -> tuple[str, ...]:
        """Return the names of the physics' constants that hold one value a sample."""
        return self.physics.batched()

    def rows(self, index: slice) -> Self:
        """Return the system of some samples; the residual is shared."""
        if not self.batched():
            return self
        return type(self)(self.physics.rows(index), self.residual, acts_on=self.acts_on)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        """Return what the physics alone conserves."""
        return self.physics.invariants(y)

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; both parts become ``{"rhs": name, "config": ...}``.

        Raises
        ------
        TypeError
            If the residual is a module that cannot be rebuilt by name.
        """
        if not isinstance(self.residual, System):
            kind = type(self.residual).__name__
            raise TypeError(f"`residual` must be a physode System, such as MLP, to be stored by name; got {kind}")
        parts: dict[str, System] = {"physics": self.physics, "residual": self.residual}
        return {
            **{part: {"rhs": system.name, "config": system.config()} for part, system in parts.items()},
            "acts_on": list(self.acts_on),
            "zero_init": self.zero_init,
        }


def _zero_last_linear(module: nn.Module) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError(f"`zero_init` needs a linear layer in `residual`, got a {type(module).__name__} without one")
    nn.init.zeros_(layers[-1].weight)
    if layers[-1].bias is not None:
        nn.init.zeros_(layers[-1].bias)
