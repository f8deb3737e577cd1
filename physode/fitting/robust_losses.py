r"""Losses that grow more slowly than squares, so that outliers count less.

With a residual in standard deviations, :math:`r`, a scale :math:`C` and :math:`z = (r / C)^2`, the loss is
:math:`C^2 \rho(z)` with

- huber: :math:`\rho = z` up to 1, then :math:`2 \sqrt z - 1`;
- soft_l1: :math:`\rho = 2 (\sqrt{1 + z} - 1)`;
- cauchy: :math:`\rho = \ln(1 + z)`,

as SciPy's ``least_squares`` has them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SCALES", "rho"]

# Where a loss keeps 95 % of the efficiency of squares on normal errors: Holland and Welsch (1977) for huber and cauchy;
# for soft_l1, psi = r / sqrt(1 + (r/C)^2), from E[psi']^2 / E[psi^2] = 0.95.
SCALES = {"huber": 1.345, "soft_l1": 1.287, "cauchy": 2.385}


def rho(name: str | None, squares: Tensor, scale: float) -> Tensor:
    """Return the loss of squared residuals; the squares themselves where `name` is None."""
    return squares if name is None else scale**2 * _RHO[name](squares / scale**2)


def _huber(z: Tensor) -> Tensor:
    # The root's argument is kept above 0, where its derivative would be infinite.
    return torch.where(z <= 1.0, z, 2.0 * z.clamp_min(1.0).sqrt() - 1.0)


def _soft_l1(z: Tensor) -> Tensor:
    return 2.0 * ((1.0 + z).sqrt() - 1.0)


_RHO: dict[str, Callable[[Tensor], Tensor]] = {"huber": _huber, "soft_l1": _soft_l1, "cauchy": torch.log1p}
