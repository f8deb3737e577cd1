r"""How well data determine what was fitted: standard errors, intervals and correlations at the best point.

The covariance of the unknowns is :math:`(J^\top J)^{-1}` with the exact discrete Jacobian J of the residuals in
standard deviations, priors' rows included: the inverse of the Fisher information. Where the standard deviation of the
observations is not known, residuals are as they are and the covariance is multiplied by their variance,
:math:`\sum r^2 / (n - P)`. For a robust loss with :math:`\psi = \rho' / 2`, it is multiplied by
:math:`\frac{n}{n - P} \overline{\psi^2} / \overline{\psi'}^2` (Huber 1981, Sect. 7.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.errors import SolveError
from physode.sensitivity import correlation, covariance
from physode.training.objective import Linearisation, Objective
from physode.training.targets import element
from physode.training.unknowns import raw_constants

__all__ = ["LEVEL", "Uncertainty", "interval", "uncertainty", "value_label"]

LEVEL = 0.95

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Uncertainty:
    """Covariance of the free unknowns, in physical units.

    Attributes
    ----------
    labels
        Names of the unknowns: elements of constants, then initial states such as ``angle(0)``.
    deviations
        Standard errors, (P,).
    correlations
        (P, P).
    quantile
        By how many standard errors the ends of 95 % intervals lie off: Student's t, or the normal distribution's where
        the observations' standard deviation is known.
    chi_square
        Sum of squared residuals in standard deviations over degrees of freedom, where these deviations are known.
    loss
        At the point.
    """

    labels: tuple[str, ...]
    deviations: Array
    correlations: Array
    quantile: float
    chi_square: float | None
    loss: float


def uncertainty(objective: Objective) -> Uncertainty:
    """Compute the uncertainty at the objective's present point.

    Raises
    ------
    SolveError
        If the solve fails.
    ValueError
        If the data do not determine the unknowns, or are too few.
    """
    found = objective.linearise()
    if not bool(torch.isfinite(found.jacobian).all()):
        raise SolveError("a derivative is not finite")
    count = found.jacobian.shape[1]
    freedom = found.values - count
    known = objective.data.weights is not None
    values = found.residuals[: found.values]
    size = {"sigma": 1.0} if known else {"residuals": found.residuals}
    spread = covariance(found.jacobian, **size)
    if objective.config.robust is not None:
        spread = spread * _robust_factor(objective, values, freedom)
    slopes = _slopes(objective).to(spread)
    spread = spread * slopes[:, None] * slopes
    return Uncertainty(
        labels=tuple(_labels(objective)),
        deviations=spread.diagonal().sqrt().cpu().numpy(),
        correlations=correlation(spread).cpu().numpy(),
        quantile=_quantile(freedom, known=known),
        chi_square=float(values.square().sum()) / freedom if known and freedom > 0 else None,
        loss=_mean_square(found),
    )


def value_label(column: str, trajectory: int | None) -> str:
    """Return the name of an initial state."""
    return f"{column}(0)" if trajectory is None else f"{column}(0) of trajectory {trajectory}"


def _mean_square(found: Linearisation) -> float:
    return float(found.residuals[: found.values].square().mean())


def _quantile(freedom: int, *, known: bool) -> float:
    from scipy import stats

    level = 0.5 + LEVEL / 2
    return float(stats.norm.ppf(level) if known else stats.t.ppf(level, max(freedom, 1)))


def _robust_factor(objective: Objective, values: Tensor, freedom: int) -> float:
    r = values.detach().clone().requires_grad_()
    (psi,) = torch.autograd.grad(objective.rho(r.square()).sum() / 2, r, create_graph=True)
    (slope,) = torch.autograd.grad(psi.sum(), r)
    n = len(values)
    return float(n / max(freedom, 1) * psi.detach().square().mean() / slope.mean().square())


def _labels(objective: Objective) -> list[str]:
    """Return the names of the free unknowns; weights of a network are counted, not named."""
    unknowns, found = objective.unknowns, []
    names = {id(raw): name for name, raw in raw_constants(unknowns.rhs).items()}
    columns, batched = objective.rhs.columns, unknowns.states.ndim == 2
    for tensor, mask in zip(unknowns.tensors, unknowns.masks(), strict=True):
        for place in map(tuple, mask.nonzero().tolist()):
            if tensor is unknowns.states:
                found.append(value_label(columns[place[-1]], place[0] if batched else None))
            else:
                found.append(element(names.get(id(tensor), "weight"), place))
    return found


def _slopes(objective: Objective) -> Tensor:
    """Return the derivatives of physical by stored values: 1, or the value itself where logarithms are stored."""
    unknowns = objective.unknowns
    constants = {id(raw): name for name, raw in raw_constants(unknowns.rhs).items()}
    parts = []
    for tensor, mask in zip(unknowns.tensors, unknowns.masks(), strict=True):
        name = constants.get(id(tensor))
        slope = torch.ones_like(tensor)
        if name is not None:
            (slope,) = torch.autograd.grad(unknowns.rhs.constants[name].sum(), tensor)
        parts.append(slope[mask].detach().double().abs())
    return torch.cat(parts)


def interval(value: float, deviation: float, quantile: float) -> tuple[float, float] | None:
    """Return the ends of a 95 % interval."""
    half = quantile * deviation
    return (value - half, value + half) if math.isfinite(half) else None
