r"""What an estimate tells: values with standard errors and intervals, how well it fits, and what the data leave open.

The covariance of the unknowns is the inverse of their Fisher information at the estimate, priors included. An unknown
constant spread takes up degrees of freedom: with F free unknowns and n values of unknown spread, information of these
counts :math:`1 - F / n`, which makes standard errors those of least squares, and intervals are Student's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.estimation.likelihood import Likelihood
from physode.estimation.problem import Estimation, Unknown
from physode.estimation.scoring import Minima
from physode.estimation.search import Problem
from physode.optional_imports import needs

LEVEL = 0.95
_OPEN = 1e-8  # of the largest eigenvalue, of a scaled information: below, a combination is not determined

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Constant:
    """One unknown as it was estimated.

    Attributes
    ----------
    name, unit
        As declared.
    value
        The estimate, or the value at which it was kept.
    error
        Standard error; None where it was kept, ended at a bound, or is not determined.
    low, high
        Ends of the 95 % interval.
    remark
        ``"fixed"``, ``"at its bound"``, ``"not determined"``, or nothing.
    """

    name: str
    unit: str
    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Estimate:
    """The unknowns of an estimation as the data tell them.

    Attributes
    ----------
    problem
        What was estimated, and how.
    minima
        Where all starts ended.
    z
        The best of them, (F,), on the unknowns' scales.
    """

    problem: Problem
    minima: Minima
    z: Tensor

    @property
    def estimation(self) -> Estimation:
        """What was estimated."""
        return self.problem.estimation

    @cached_property
    def likelihood(self) -> Likelihood:
        """The likelihood at the estimate, with derivatives by the free unknowns' values."""
        return self.problem.likelihood(self.z[None])

    @property
    def loss(self) -> float:
        """-log of the likelihood, priors left out."""
        return float(self.likelihood.loss[0])

    @property
    def reason(self) -> str:
        """How the best start ended, in words."""
        return self.minima.reasons[self.minima.best]

    @property
    def converged(self) -> bool:
        """Whether it has arrived."""
        return self.minima.converged[self.minima.best]

    @property
    def met(self) -> int:
        """How many starts ended at the best loss, within a hundredth."""
        return self.minima.met

    @cached_property
    def values(self) -> dict[str, float]:
        """All unknowns, those that were kept too."""
        theta = self.problem.scales.theta(self.z[None])[0].tolist()
        return {unknown.name: value for unknown, value in zip(self.estimation.unknowns, theta, strict=True)}

    @cached_property
    def information(self) -> Tensor:
        """The Fisher information of z with what unknown spreads take off, (F, F)."""
        facing, found = self.problem.facing, self.likelihood
        free, unknown = len(self.z), sum(map(len, facing.groups))
        spreads = found.spreads.clone()
        factor = math.sqrt(unknown / (unknown - free)) if unknown > free else 1.0
        for group in facing.groups:
            spreads[:, group] = spreads[:, group] * factor
        frozen = replace(facing, groups=())
        information = frozen.compare(replace(found.prediction, spreads=spreads)).information
        assert information is not None
        slopes = self.problem.scales.slopes(self.z)
        curvature = self.problem.scales.priors(self.z[None])[2][0]
        return information[0] * slopes[:, None] * slopes + torch.diag(curvature)

    @cached_property
    def at_bound(self) -> Tensor:
        """Which of the free unknowns ended at a bound, (F,)."""
        low, high = self.problem.scales.low, self.problem.scales.high
        room = 1e-8 * self.z.abs().clamp_min(1.0)
        return (self.z - low <= room) | (high - self.z <= room)

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance of z, (F, F): NaN for those at a bound, and those that the data leave undetermined."""
        inside = ~self.at_bound
        own = self.information[inside][:, inside]
        scale = own.diagonal().sqrt()
        seen = scale > 0
        found = torch.full_like(self.information, torch.nan)
        own, scale = own[seen][:, seen], scale[seen]
        values, vectors = torch.linalg.eigh(own / (scale[:, None] * scale))
        determined = values > _OPEN * values.max() if len(values) else values > 0
        inverse = vectors[:, determined] / values[determined] @ vectors[:, determined].T / (scale[:, None] * scale)
        # What takes part in a combination that is not determined has no error of its own.
        taking = (vectors[:, ~determined].abs() > 1e-3).any(1)
        inverse[taking] = torch.nan
        inverse[:, taking] = torch.nan
        rows = inside.nonzero().flatten()[seen]
        found[rows[:, None], rows] = inverse
        return found

    @property
    def correlation(self) -> Array:
        """The correlations of the free unknowns, (F, F)."""
        deviation = self.covariance.diagonal().sqrt()
        return np.asarray((self.covariance / (deviation[:, None] * deviation)).numpy())

    @cached_property
    def quantile(self) -> float:
        """By how many standard errors the ends of 95 % intervals lie off."""
        from scipy import stats

        level, groups = 0.5 + LEVEL / 2, self.problem.facing.groups
        freedom = sum(map(len, groups)) - len(self.z)
        return float(stats.t.ppf(level, max(freedom, 1)) if groups else stats.norm.ppf(level))

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """All unknowns with errors and intervals, in their order."""
        scales = self.problem.scales
        deviations = self.covariance.diagonal().sqrt()
        ends = [scales.values((self.z + sign * self.quantile * deviations)[None])[0] for sign in (-1, 1)]
        slopes = scales.slopes(self.z)
        places = {place: i for i, place in enumerate(scales.places)}
        return tuple(
            self._constant(unknown, places.get(k), deviations * slopes, ends)
            for k, unknown in enumerate(self.estimation.unknowns)
        )

    def _constant(self, unknown: Unknown, i: int | None, errors: Tensor, ends: list[Tensor]) -> Constant:
        value = self.values[unknown.name]
        if i is None:
            return Constant(unknown.name, unknown.unit, value, remark="fixed")
        if bool(self.at_bound[i]):
            return Constant(unknown.name, unknown.unit, value, remark="at its bound")
        error = float(errors[i])
        if not math.isfinite(error):
            return Constant(unknown.name, unknown.unit, value, remark="not determined")
        low, high = float(ends[0][i]), float(ends[1][i])
        return Constant(unknown.name, unknown.unit, value, error, low, high)

    def __getitem__(self, name: str) -> Constant:
        """Return one of the unknowns."""
        for constant in self.constants:
            if constant.name == name:
                return constant
        raise KeyError(f"{name!r} is none of {', '.join(self.values)}")

    @property
    def parameters(self) -> int:
        """How many numbers were found: free unknowns, and spreads."""
        return len(self.z) + len(self.problem.facing.groups)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return 2.0 * self.parameters + 2.0 * self.loss

    @property
    def aicc(self) -> float:
        """The same, corrected for few values; infinite where these are too few."""
        k, n = self.parameters, len(self.estimation.measurements)
        return self.aic + 2.0 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf

    @property
    def bic(self) -> float:
        """The Bayesian information criterion."""
        return self.parameters * math.log(len(self.estimation.measurements)) + 2.0 * self.loss

    @property
    def chi_square(self) -> float | None:
        """Sum of squared residuals in spreads over degrees of freedom; None where spreads are found from them."""
        if self.problem.facing.groups or len(self.estimation.measurements) <= len(self.z):
            return None
        return float(self.likelihood.residuals.square().sum()) / (len(self.estimation.measurements) - len(self.z))

    @property
    def spreads(self) -> dict[str, float]:
        """Of observables whose constant spread was unknown: its estimate."""
        data, spreads = self.estimation.measurements, self.likelihood.spreads[0]
        free = [i for i, one in enumerate(self.estimation.observables) if one.spread is None]
        n = sum(map(len, self.problem.facing.groups))
        factor = math.sqrt(n / (n - len(self.z))) if n > len(self.z) else 1.0
        rows = {i: np.flatnonzero(data.observable == i) for i in free}
        return {
            self.estimation.observables[i].name: factor * float(spreads[own[0]]) for i, own in rows.items() if len(own)
        }

    def to_frame(self) -> Any:
        """Return the constants as a pandas DataFrame, a row each.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        pd = needs("pandas", extra="frames", purpose="a table of constants as a DataFrame")
        rows = [vars(constant) for constant in self.constants]
        return pd.DataFrame(rows).set_index("name")

    def as_dict(self) -> dict[str, Any]:
        """Return what can be kept as JSON."""
        return {
            "constants": [vars(constant) for constant in self.constants],
            "spreads": self.spreads,
            "loss": self.loss,
            "aic": self.aic,
            "aicc": self.aicc if math.isfinite(self.aicc) else None,
            "bic": self.bic,
            "chi_square": self.chi_square,
            "converged": self.converged,
            "reason": self.reason,
            "starts": len(self.minima.loss),
            "met": self.met,
            "values": len(self.estimation.measurements),
            "method": self.problem.options.method,
        }

    def __repr__(self) -> str:
        lines = [f"Estimate of {len(self.z)} constants from {len(self.estimation.measurements)} values: {self.reason}"]
        width = max(len(constant.name) for constant in self.constants)
        for constant in self.constants:
            error = f"+- {constant.error:.3g}" if constant.error is not None else f"({constant.remark})"
            lines.append(f"  {constant.name:<{width}} = {constant.value:.10g} {error} {constant.unit}".rstrip())
        chi = self.chi_square
        tail = "" if chi is None else f", chi-square a degree of freedom {chi:.4g}"
        lines.append(f"  -log L {self.loss:.6g}, AIC {self.aic:.6g}, BIC {self.bic:.6g}{tail}")
        if len(self.minima.loss) > 1:
            lines.append(f"  {self.met} of {len(self.minima.loss)} starts met")
        return "\n".join(lines)


def open_combinations(estimate: Estimate) -> tuple[Mapping[str, float], ...]:
    """Return the combinations of free unknowns that the data leave undetermined: by name, how much each takes part.

    They are eigenvectors of the information, scaled to a unit diagonal, whose eigenvalues vanish beside the largest:
    moving the unknowns along one, in units of what each alone is determined by, changes nothing that was measured.
    Unknowns that nothing measured depends on come first, alone.
    """
    scale = estimate.information.diagonal().sqrt()
    names = [unknown.name for unknown in estimate.problem.scales.free]
    blind: list[Mapping[str, float]] = [{names[i]: 1.0} for i in (scale == 0).nonzero().flatten().tolist()]
    seen = (scale > 0).nonzero().flatten()
    if not len(seen):
        return tuple(blind)
    own = estimate.information[seen][:, seen] / (scale[seen][:, None] * scale[seen])
    values, vectors = torch.linalg.eigh(own)
    for k in (values <= _OPEN * values.max()).nonzero().flatten().tolist():
        direction = vectors[:, k] / scale[seen]
        direction = direction / direction.abs().max()
        blind.append(
            {names[i]: float(x) for i, x in zip(seen.tolist(), direction, strict=True) if abs(float(x)) > 1e-3}
        )
    return tuple(blind)
