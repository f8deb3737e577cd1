r"""What an estimate tells: values with standard errors and intervals, how well it fits, and what the data leave open.

The covariance of the unknowns is the inverse of their Fisher information at the estimate, priors included. An unknown
constant spread takes up degrees of freedom: with F free unknowns and n values of unknown spread, information of these
counts :math:`1 - F / n`, which makes standard errors those of least squares, and intervals are Student's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.estimation.likelihood import Likelihood
from physode.estimation.modes import Modes
from physode.estimation.problem import Estimation, Unknown
from physode.estimation.scoring import NAMED, Minima
from physode.estimation.search import Problem
from physode.fit_status import held_against_data, status_of
from physode.summary import Described, Summary, error_text, frame, rounded, short_number

LEVEL = 0.95
_NEARBY = 1000  # steps of a solve

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


@dataclass(frozen=True, repr=False)
class Estimate(Described):
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

    @cached_property
    def nearby(self) -> Problem:
        """The same problem for searches near the estimate: with few steps where these suffice, so that strays end."""
        short = replace(self.problem, options=replace(self.problem.options, max_steps=_NEARBY))
        if self.problem.options.max_steps <= _NEARBY:
            return self.problem
        solved = torch.isfinite(short.likelihood(self.z[None], derivatives=False).loss)
        return short if bool(solved.all()) else self.problem

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

    @cached_property
    def ended(self) -> str:
        """How the search ended, its status first, held against the data: :mod:`physode.fit_status`."""
        told = NAMED[self.reason]
        freedom = len(self.estimation.measurements) - len(self.z)
        remedy = "start closer, bound the constants, or give more starts"
        return held_against_data(told, left=self.left, remedy=remedy, chi_square=self.chi_square, freedom=freedom)

    @property
    def status(self) -> str:
        """The name of how it ended: ``"converged"``, ``"max epochs"``, ``"no progress"`` or ``"explains nothing"``."""
        return status_of(self.ended)

    @property
    def left(self) -> float:
        """Share of the measurements' squares about their observables' means that predictions leave, in spreads."""
        values, weights = self.problem.facing.values, 1.0 / self.noise.square()
        predicted = self.problem.facing.scaled(self.likelihood.prediction)[0][0]
        which = torch.from_numpy(self.estimation.measurements.observable)
        sums = torch.zeros(len(self.estimation.observables), 2, dtype=torch.float64)
        sums.index_add_(0, which, torch.stack([weights, weights * values], 1))
        means = (sums[:, 1] / sums[:, 0])[which]
        total = float((weights * (values - means).square()).sum())
        return float((weights * (values - predicted).square()).sum()) / total if total > 0 else math.nan

    @property
    def met(self) -> int:
        """How many starts ended at the best loss, within a hundredth."""
        return self.minima.met

    @property
    def doubt(self) -> str:
        """What to do where one of several starts alone ended at the best loss; else nothing."""
        if self.met > 1 or len(self.minima.loss) < 3:
            return ""
        return "one start alone came to the best: another may lie below it; bound the constants, or give more starts"

    @cached_property
    def values(self) -> dict[str, float]:
        """All unknowns, those that were kept too."""
        theta = self.problem.scales.theta(self.z[None])[0].tolist()
        return {unknown.name: value for unknown, value in zip(self.estimation.unknowns, theta, strict=True)}

    @property
    def _inflation(self) -> float:
        """By how much the best spreads are too small: they know of no unknowns that took up degrees of freedom."""
        free, n = len(self.z), sum(map(len, self.problem.facing.groups))
        return math.sqrt(n / (n - free)) if n > free else 1.0

    @cached_property
    def information(self) -> Tensor:
        """The Fisher information of z with what unknown spreads take off, (F, F)."""
        prediction = replace(self.likelihood.prediction, spreads=self.noise[None])
        information = replace(self.problem.facing, groups=()).compare(prediction).information
        assert information is not None
        slopes = self.problem.scales.slopes(self.z)
        curvature = self.problem.scales.priors(self.z[None])[2][0]
        return information[0] * slopes[:, None] * slopes + torch.diag(curvature)

    @cached_property
    def noise(self) -> Tensor:
        """The spreads of the measurements on the scale of comparison, (n,), those found as in `spreads`."""
        spreads = self.likelihood.spreads[0].clone()
        for group in self.problem.facing.groups:
            spreads[group] = spreads[group] * self._inflation
        return spreads

    @cached_property
    def design(self) -> Tensor:
        """The predictions' derivatives by z in spreads, (n, F), 0 for unknowns at a bound."""
        slope = self.problem.facing.scaled(self.likelihood.prediction)[1]
        assert slope is not None
        own = slope[0] * self.problem.scales.slopes(self.z) / self.noise[:, None]
        return torch.where(self.at_bound, 0.0, own)

    @cached_property
    def leverages(self) -> Tensor:
        r"""How much of each measurement its own prediction follows, (n,): 0 to 1; they sum to the unknowns determined.

        The diagonal of :math:`H = J (J^\top J + P)^{-1} J^\top` with J the `design` and P the priors' curvature.
        """
        return (self.design @ self.modes.pseudo_inverse * self.design).sum(1).clamp(0.0, 1.0)

    @cached_property
    def at_bound(self) -> Tensor:
        """Which of the free unknowns ended at a bound, (F,)."""
        low, high = self.problem.scales.low, self.problem.scales.high
        room = 1e-8 * self.z.abs().clamp_min(1.0)
        return (self.z - low <= room) | (high - self.z <= room)

    @cached_property
    def modes(self) -> Modes:
        """Combinations of z that the data determine, and those that they do not; unknowns at a bound stay there."""
        return Modes.of(self.information, ~self.at_bound)

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance of z, (F, F): NaN for those at a bound, and those that the data leave undetermined."""
        return self.modes.covariance

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
        groups, which = self.problem.facing.groups, self.estimation.measurements.observable
        return {self.estimation.observables[which[group[0]]].name: float(self.noise[group[0]]) for group in groups}

    def to_frame(self) -> Any:
        """Return the constants as a pandas DataFrame, a row each.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        names = [field.name for field in fields(Constant)]
        return frame(
            {name: [getattr(each, name) for each in self.constants] for name in names},
            index="name",
            what="a table of constants",
        )

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
            "status": self.status,
            "ended": self.ended,
            "converged": self.converged,
            "reason": self.reason,
            "starts": len(self.minima.loss),
            "met": self.met,
            "values": len(self.estimation.measurements),
            "method": self.problem.options.method,
        }

    @property
    def summary(self) -> Summary:
        """Constants to the digits that are known, how well they fit, how the search ended."""
        rows = tuple(
            (each.name, rounded(each.value, each.error) or "-", error_text(each.error) or "-", each.unit, each.remark)
            for each in self.constants
        )
        starts = len(self.minima.loss)
        facts = {
            "-log L": short_number(self.loss),
            "AIC": short_number(self.aic),
            "BIC": short_number(self.bic),
            **({} if self.chi_square is None else {"chi-square a degree of freedom": f"{self.chi_square:.4g}"}),
            **({"starts that met": f"{self.met} of {starts}"} if starts > 1 else {}),
        }
        title = f"Estimate of {len(self.z)} constants from {len(self.estimation.measurements)} values: {self.ended}"
        heads = ("name", "value", "standard error", "unit", "")
        return Summary(title, facts, heads, rows, (self.doubt,) if self.doubt else ())
