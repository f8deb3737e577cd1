"""POLLU: twenty-five reactions of twenty species in polluted air."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.preset import Preset

__all__ = ["Pollution"]

# Rate, the species that react (one or two), and what a reaction changes: (species, by how much).
_REACTIONS: tuple[tuple[float, tuple[int, ...], tuple[tuple[int, int], ...]], ...] = (
    (0.35, (1,), ((1, -1), (2, 1), (3, 1))),
    (26.6, (2, 4), ((1, 1), (2, -1), (4, -1))),
    (1.23e4, (5, 2), ((1, 1), (2, -1), (5, -1), (6, 1))),
    (8.6e-4, (7,), ((5, 2), (7, -1), (8, 1))),
    (8.2e-4, (7,), ((7, -1), (8, 1))),
    (1.5e4, (7, 6), ((5, 1), (6, -1), (7, -1), (8, 1))),
    (1.3e-4, (9,), ((5, 1), (8, 1), (9, -1), (10, 1))),
    (2.4e4, (9, 6), ((6, -1), (9, -1), (11, 1))),
    (1.65e4, (11, 2), ((1, 1), (2, -1), (10, 1), (11, -1), (12, 1))),
    (9.0e3, (11, 1), ((1, -1), (11, -1), (13, 1))),
    (0.022, (13,), ((1, 1), (11, 1), (13, -1))),
    (1.2e4, (10, 2), ((1, 1), (2, -1), (10, -1), (14, 1))),
    (1.88, (14,), ((5, 1), (7, 1), (14, -1))),
    (1.63e4, (1, 6), ((1, -1), (6, -1), (15, 1))),
    (4.8e6, (3,), ((3, -1), (4, 1))),
    (3.5e-4, (4,), ((4, -1), (16, 1))),
    (0.0175, (4,), ((3, 1), (4, -1))),
    (1.0e8, (16,), ((6, 2), (16, -1))),
    (4.44e11, (16,), ((3, 1), (16, -1))),
    (1.24e3, (17, 6), ((5, 1), (6, -1), (17, -1), (18, 1))),
    (2.1, (19,), ((2, 1), (19, -1))),
    (5.78, (19,), ((1, 1), (3, 1), (19, -1))),
    (0.0474, (1, 4), ((1, -1), (4, -1), (19, 1))),
    (1.78e3, (19, 1), ((1, -1), (19, -1), (20, 1))),
    (3.12, (20,), ((1, 1), (19, 1), (20, -1))),
)


class Pollution(System):
    r"""The chemical part of a model of air pollution (Verwer 1994), stiff, as in the Test Set for IVP Solvers.

    Each reaction has the rate :math:`r_j = k_j y_a` or :math:`k_j y_a y_b`, and :math:`\dot y = S r` with the
    stoichiometric matrix S. Species are numbered as there; the state has shape (..., 20), times are in minutes.
    """

    name = "pollution"
    columns = tuple(f"y{i}" for i in range(1, 21))
    units = ("",) * 20
    time_unit = "min"
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(0, 0.2, 0, 0.04, 0, 0, 0.1, 0.3, 0.01, 0, 0, 0, 0, 0, 0, 0, 0.007, 0, 0, 0),
            t_end=60.0,
            points=1000,
            description="an hour, as in the Test Set for IVP Solvers; a problem for implicit methods",
        ),
    }

    def __init__(self) -> None:
        super().__init__()
        matrix = torch.zeros(20, len(_REACTIONS), dtype=torch.float64)
        for j, (_, _, changes) in enumerate(_REACTIONS):
            for species, change in changes:
                matrix[species - 1, j] = change
        first = torch.tensor([species[0] - 1 for _, species, _ in _REACTIONS])
        second = torch.tensor([species[1] - 1 if len(species) > 1 else 20 for _, species, _ in _REACTIONS])
        rates = torch.tensor([rate for rate, _, _ in _REACTIONS], dtype=torch.float64)
        for name, value in (("matrix", matrix), ("first", first), ("second", second), ("rates", rates)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        one = torch.cat((y, torch.ones_like(y[..., :1])), -1)  # a reaction of one species has 1 for the other
        matrix, rates = self.get_buffer("matrix").to(y.dtype), self.get_buffer("rates").to(y.dtype)
        found = rates * one[..., self.get_buffer("first")] * one[..., self.get_buffer("second")]
        return found @ matrix.T
