"""Stiff chemical reactions: problems for implicit methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from physode.rhs.base import Preset, System
from physode.rhs.constants import Constant

__all__ = ["Hires", "Oregonator", "Pollution", "Robertson"]


class Robertson(System):
    r"""Three species whose rates differ by nine powers of ten (Robertson 1966): stiff, over times up to 1e11.

    .. math::

        \dot y_1 = -k_1 y_1 + k_3 y_2 y_3, \qquad \dot y_2 = k_1 y_1 - k_2 y_2^2 - k_3 y_2 y_3, \qquad
        \dot y_3 = k_2 y_2^2

    The sum of the species is conserved. The state is :math:`(y_1, y_2, y_3)`, shape (..., 3).
    """

    name = "robertson"
    columns = ("y1", "y2", "y3")
    units = ("", "", "")
    stiff = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 0.0, 0.0),
            t_end=1e11,
            points=2,
            description="from the first species to the steady state, t = 1e11; a problem for implicit methods",
        ),
    }
    k1 = Constant(0.04, "rate of the slow reaction")
    k2 = Constant(3e7, "rate of the very fast reaction")
    k3 = Constant(1e4, "rate of the fast reaction")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        k1, k2, k3 = (value.to(y.dtype) for value in self.constants.values())
        a, b, c = y.unbind(-1)
        slow, fastest, fast = k1 * a, k2 * b * b, k3 * b * c
        return torch.stack((fast - slow, slow - fast - fastest, fastest), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        """Return the sum of the species."""
        return {"total": y.sum(-1)}


class Oregonator(System):
    r"""Three concentrations of an oscillating reaction (Field & Noyes 1974): stiff, with sudden changes.

    .. math::

        \dot y_1 = s (y_2 - y_1 y_2 + y_1 - q y_1^2), \qquad
        \dot y_2 = (y_3 - y_2 - y_1 y_2) / s, \qquad \dot y_3 = w (y_1 - y_3)

    The state is :math:`(y_1, y_2, y_3)`, shape (..., 3).
    """

    name = "oregonator"
    columns = ("y1", "y2", "y3")
    units = ("", "", "")
    stiff = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 2.0, 3.0),
            t_end=360.0,
            points=2000,
            description="about one period, as in the Test Set for IVP Solvers; a problem for implicit methods",
        ),
    }
    s = Constant(77.27, "ratio of the time scales")
    q = Constant(8.375e-6, "scaled rate of the decay of y1")
    w = Constant(0.161, "scaled rate of y3")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        s, q, w = (value.to(y.dtype) for value in self.constants.values())
        a, b, c = y.unbind(-1)
        return torch.stack((s * (b - a * b + a - q * a * a), (c - b - a * b) / s, w * (a - c)), -1)


class Hires(System):
    r"""High irradiance responses of photomorphogenesis (Schaefer 1975), stiff, as in the Test Set for IVP Solvers.

    .. math::

        \dot y_1 &= -1.71 y_1 + 0.43 y_2 + 8.32 y_3 + 0.0007, &
        \dot y_5 &= -1.745 y_5 + 0.43 (y_6 + y_7), \\
        \dot y_2 &= 1.71 y_1 - 8.75 y_2, &
        \dot y_6 &= -280 y_6 y_8 + 0.69 (y_4 + y_7) + 1.71 y_5 - 0.43 y_6, \\
        \dot y_3 &= -10.03 y_3 + 0.43 y_4 + 0.035 y_5, &
        \dot y_7 &= 280 y_6 y_8 - 1.81 y_7, \\
        \dot y_4 &= 8.32 y_2 + 1.71 y_3 - 1.12 y_4, &
        \dot y_8 &= -\dot y_7

    The state has shape (..., 8).
    """

    name = "hires"
    columns = tuple(f"y{i}" for i in range(1, 9))
    units = ("",) * 8
    stiff = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "classic": Preset(
            config={},
            y0=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
            t_end=321.8122,
            points=1000,
            description="as in the Test Set for IVP Solvers; a problem for implicit methods",
        ),
    }

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        y1, y2, y3, y4, y5, y6, y7, y8 = y.unbind(-1)
        bound = 280.0 * y6 * y8 - 1.81 * y7
        return torch.stack(
            (
                -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
                1.71 * y1 - 8.75 * y2,
                -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
                8.32 * y2 + 1.71 * y3 - 1.12 * y4,
                -1.745 * y5 + 0.43 * (y6 + y7),
                -280.0 * y6 * y8 + 0.69 * (y4 + y7) + 1.71 * y5 - 0.43 * y6,
                bound,
                -bound,
            ),
            -1,
        )


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
    stiff = True
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
