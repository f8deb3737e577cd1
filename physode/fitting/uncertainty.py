r"""How well data determine what was fitted: standard errors, intervals and correlations at the best point.

The covariance of the unknowns is :math:`(J^\top J)^{-1}` with the exact discrete Jacobian J of the residuals in
standard deviations, priors' rows included: the inverse of the Fisher information. Where the standard deviation of the
observations is not known, residuals are as they are and the covariance is multiplied by their variance,
:math:`\sum r^2 / (n - P)`. For a robust loss, with :math:`\psi = \rho' / 2`, J of the observed values and
:math:`\Pi` of the priors, it is the sandwich :math:`H^{-1} (s^2 J^\top J + \Pi^\top \Pi) H^{-1}`,
:math:`H = \overline{\psi'} J^\top J + \Pi^\top \Pi`, :math:`s^2 = \frac{n}{n - P} \overline{\psi^2}` (Huber 1981,
Sect. 7.6).

An unknown that ended at its bound has no error; those of the others hold with it fixed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.errors import SolveError
from physode.fitting.objective import MOST_BYTES, Linearisation, Objective, jacobian_bytes
from physode.sensitivity import correlation, covariance

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
    at_bound
        Names of the unknowns that ended at a bound.
    """

    labels: tuple[str, ...]
    deviations: Array
    correlations: Array
    quantile: float
    chi_square: float | None
    loss: float
    at_bound: tuple[str, ...] = ()


def uncertainty(objective: Objective) -> Uncertainty:
    """Compute the uncertainty at the objective's present point.

    Raises
    ------
    SolveError
        If the solve fails.
    ValueError
        If the data do not determine the unknowns, or are too few.
    """
    size = jacobian_bytes(objective.data, len(objective.parameters.mask))
    if objective.parameters.has_free_states and size > MOST_BYTES:
        raise ValueError(f"their Jacobian would take {size / 2**30:.0f} GiB")
    inside = _inside_bounds(objective)
    names = list(zip(objective.parameters.labels(), inside.tolist(), strict=True))
    found = objective.linearise()
    found = replace(found, jacobian=found.jacobian[:, inside])
    if not bool(torch.isfinite(found.jacobian).all()):
        raise SolveError("a derivative is not finite")
    count = found.jacobian.shape[1]
    freedom = found.values - count
    known = objective.data.weights is not None
    values = found.residuals[: found.values]
    scale: dict[str, Any] = {"sigma": 1.0} if known else {"residuals": found.residuals}
    if objective.config.robust is None:
        spread = covariance(found.jacobian, **scale)
    else:
        spread = _robust_covariance(objective, found, freedom)
    slopes = objective.parameters.physical_slopes()[inside].to(spread)
    spread = spread * slopes[:, None] * slopes
    return Uncertainty(
        labels=tuple(name for name, free in names if free),
        deviations=spread.diagonal().sqrt().cpu().numpy(),
        correlations=correlation(spread).cpu().numpy(),
        quantile=_quantile(freedom, known=known),
        chi_square=float(values.square().sum()) / freedom if known and freedom > 0 else None,
        loss=float(values.square().mean()),
        at_bound=tuple(name for name, free in names if not free),
    )


def _quantile(freedom: int, *, known: bool) -> float:
    from scipy.special import ndtri, stdtrit

    level = 0.5 + LEVEL / 2
    return float(ndtri(level) if known else stdtrit(max(freedom, 1), level))


def _robust_covariance(objective: Objective, found: Linearisation, freedom: int) -> Tensor:
    r = found.residuals[: found.values].detach().clone().requires_grad_()
    (psi,) = torch.autograd.grad(objective.rho(r.square()).sum() / 2, r, create_graph=True)
    (slope,) = torch.autograd.grad(psi.sum(), r)
    covariance(found.jacobian, sigma=1.0)  # refuses what the data do not determine
    units = found.jacobian.norm(dim=0)
    scaled = found.jacobian / units
    rows, priors = scaled[: found.values], scaled[found.values :]
    data, prior = rows.T @ rows, priors.T @ priors
    inverse = torch.linalg.inv(slope.mean() * data + prior)
    size = found.values / max(freedom, 1) * psi.detach().square().mean()
    spread: Tensor = inverse @ (size * data + prior) @ inverse / (units[:, None] * units)
    return spread


def _inside_bounds(objective: Objective) -> Tensor:
    """Return which of the free unknowns are not at a bound."""
    low, high = objective.parameters.bounds()
    x = objective.parameters.vector()
    room = 1e-8 * np.maximum(1.0, np.abs(x))
    return torch.as_tensor((x - low > room) & (high - x > room), device=objective.parameters.states.device)


def interval(value: float, deviation: float, quantile: float) -> tuple[float, float] | None:
    """Return the ends of a 95 % interval."""
    half = quantile * deviation
    return (value - half, value + half) if math.isfinite(half) else None
