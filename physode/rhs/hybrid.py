"""Known physics and a learnt remainder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from physode.rhs.base import System

__all__ = ["Hybrid"]


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
