"""Unknowns as they are searched for: on scales of their own, within bounds, with densities before the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Cauchy, Chi2, Exponential, Gamma, Laplace, Normal

from physode.errors import ConfigError
from physode.estimation.problem import PRIORS, SCALES, Prior, Unknown

_LN10 = math.log(10.0)


@dataclass(frozen=True)
class Scales:
    """The free unknowns' values x as functions of what is searched for, z, one by one; F of them among P.

    Attributes
    ----------
    unknowns
        All of them.
    places
        Of the free ones.
    base
        By free unknown: 0 for a linear scale, else the logarithm's base as its own logarithm, (F,).
    low, high
        Bounds of z, (F,).
    """

    unknowns: tuple[Unknown, ...]
    places: tuple[int, ...]
    base: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def of(unknowns: Sequence[Unknown]) -> Scales:
        """Check the unknowns and make the scales of those that are free.

        Raises
        ------
        ConfigError
            If a bound, a guess, a scale or a prior is impossible.
        """
        for unknown in unknowns:
            _check(unknown)
        places = tuple(i for i, unknown in enumerate(unknowns) if unknown.free)
        if not places:
            raise ConfigError("nothing is to be estimated: all constants are fixed; free at least one")
        free = [unknowns[i] for i in places]
        bases = {"linear": 0.0, "log": 1.0, "log10": _LN10}
        return Scales(
            unknowns=tuple(unknowns),
            places=places,
            base=torch.tensor([bases[one.scale] for one in free], dtype=torch.float64),
            low=torch.tensor([_scaled(one, one.low) for one in free], dtype=torch.float64),
            high=torch.tensor([_scaled(one, one.high) for one in free], dtype=torch.float64),
        )

    @property
    def free(self) -> tuple[Unknown, ...]:
        """The unknowns that are searched for."""
        return tuple(self.unknowns[i] for i in self.places)

    def guess(self) -> Tensor:
        """Return z where the search begins, (F,)."""
        return torch.tensor([_scaled(one, one.guess) for one in self.free], dtype=torch.float64)

    def values(self, z: Tensor) -> Tensor:
        """Return the values of the free unknowns, of z's shape."""
        return torch.where(self.base == 0.0, z, (z * self.base).exp())

    def slopes(self, z: Tensor) -> Tensor:
        """Return dx/dz."""
        return torch.where(self.base == 0.0, 1.0, self.base * (z * self.base).exp())

    def scaled(self, values: Tensor) -> Tensor:
        """Return z of values of the free unknowns."""
        positive = torch.where(self.base == 0.0, 1.0, values)
        return torch.where(self.base == 0.0, values, positive.log() / torch.where(self.base == 0.0, 1.0, self.base))

    @property
    def reach(self) -> Tensor:
        """The longest step of a search, (F,): a decade of logarithms, infinite else."""
        return torch.where(self.base == 0.0, torch.inf, _LN10 / self.base)

    def theta(self, z: Tensor) -> Tensor:
        """Return all unknowns, (S, P), for z (S, F)."""
        fixed = torch.tensor([one.guess for one in self.unknowns], dtype=torch.float64)
        return fixed.expand(len(z), -1).index_copy(1, torch.tensor(self.places), self.values(z))

    def priors(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return -log of the priors' densities, (S,), its gradient by z and its curvature, (S, F) each.

        A density is always one of the value, or of its scale, as the prior says; curvatures below 0 are left out.
        """
        loss = z.new_zeros(len(z))
        gradient, curvature = torch.zeros_like(z), torch.zeros_like(z)
        for i, unknown in enumerate(self.free):
            if unknown.prior is None:
                continue
            loss = loss + normaliser(unknown)
            if unknown.prior.kind == "uniform":
                continue
            with torch.enable_grad():
                own = z[:, i].detach().requires_grad_()
                value = own
                if not unknown.prior.scaled and float(self.base[i]):
                    value = (own * self.base[i]).exp()
                lost = -density(unknown.prior, value)
                (slope,) = torch.autograd.grad(lost.sum(), own, create_graph=True)
                bend = torch.zeros_like(slope)
                if slope.requires_grad:
                    (bend,) = torch.autograd.grad(slope.sum(), own, materialize_grads=True)
            loss = loss + lost.detach()
            gradient[:, i], curvature[:, i] = slope.detach(), bend.detach().clamp_min(0.0)
        return loss, gradient, curvature


def density(prior: Prior, x: Tensor) -> Tensor:
    """Return the logarithm of a prior's density at x; -inf outside of where it has one."""
    numbers = [torch.tensor(number, dtype=x.dtype) for number in prior.numbers]
    inside = x if prior.kind in ("uniform", "normal", "laplace", "cauchy") else torch.where(x > 0, x, 1.0)
    found = _DENSITIES[prior.kind](inside, *numbers)
    return found if inside is x else torch.where(x > 0, found, -torch.inf)


def normaliser(unknown: Unknown) -> float:
    """Return what a constant factor of an unknown's prior takes from its logarithm: the share within its bounds of a
    truncated one, the width of a uniform one.
    """
    from scipy import stats

    prior = unknown.prior
    if prior is None:
        return 0.0
    if prior.kind == "uniform":
        return math.log(prior.numbers[1] - prior.numbers[0])
    if not prior.truncated:
        return 0.0
    one, last = prior.numbers[0], prior.numbers[-1]
    distribution = {
        "normal": lambda: stats.norm(one, last),
        "laplace": lambda: stats.laplace(one, last),
        "log-normal": lambda: stats.lognorm(last, scale=math.exp(one)),
        "log-laplace": lambda: stats.loglaplace(1 / last, scale=math.exp(one)),
        "log-uniform": lambda: stats.loguniform(one, last),
        "cauchy": lambda: stats.cauchy(one, last),
        "chi-squared": lambda: stats.chi2(one),
        "exponential": lambda: stats.expon(scale=one),
        "gamma": lambda: stats.gamma(one, scale=last),
        "rayleigh": lambda: stats.rayleigh(scale=one),
    }[prior.kind]()
    ends = (
        (_scaled(unknown, unknown.low), _scaled(unknown, unknown.high)) if prior.scaled else (unknown.low, unknown.high)
    )
    return math.log(float(distribution.cdf(ends[1]) - distribution.cdf(ends[0])))


_DENSITIES: dict[str, Callable[..., Tensor]] = {
    "uniform": lambda x, low, high: torch.where((x >= low) & (x <= high), -(high - low).log(), -torch.inf),
    "normal": lambda x, mean, sd: Normal(mean, sd).log_prob(x),  # type: ignore[no-untyped-call]
    "laplace": lambda x, mean, b: Laplace(mean, b).log_prob(x),  # type: ignore[no-untyped-call]
    "log-normal": lambda x, mean, sd: Normal(mean, sd).log_prob(x.log()) - x.log(),  # type: ignore[no-untyped-call]
    "log-laplace": lambda x, mean, b: Laplace(mean, b).log_prob(x.log()) - x.log(),  # type: ignore[no-untyped-call]
    "log-uniform": lambda x, low, high: torch.where(
        (x >= low) & (x <= high), -x.log() - (high / low).log().log(), -torch.inf
    ),
    "cauchy": lambda x, at, width: Cauchy(at, width).log_prob(x),  # type: ignore[no-untyped-call]
    "chi-squared": lambda x, freedom: Chi2(freedom).log_prob(x),  # type: ignore[no-untyped-call]
    "exponential": lambda x, scale: Exponential(1 / scale).log_prob(x),  # type: ignore[no-untyped-call]
    "gamma": lambda x, shape, scale: Gamma(shape, 1 / scale).log_prob(x),  # type: ignore[no-untyped-call]
    "rayleigh": lambda x, scale: x.log() - 2 * scale.log() - 0.5 * (x / scale).square(),
}


def _scaled(unknown: Unknown, value: float) -> float:
    if unknown.scale == "linear":
        return value
    if value <= 0.0:
        return -math.inf
    return math.log(value) / (_LN10 if unknown.scale == "log10" else 1.0)


def _check(unknown: Unknown) -> None:
    name, prior = unknown.name, unknown.prior
    if unknown.scale not in SCALES:
        raise ConfigError(f"{name!r} has the scale {unknown.scale!r}; it can be {', '.join(SCALES)}")
    if not math.isfinite(unknown.guess):
        raise ConfigError(f"the guess of {name!r} must be finite, got {unknown.guess}")
    if unknown.free and not unknown.low < unknown.high:
        raise ConfigError(
            f"the bounds of {name!r} must be a lower and a larger number, got {unknown.low} and {unknown.high}"
        )
    if unknown.free and not unknown.low <= unknown.guess <= unknown.high:
        raise ConfigError(
            f"the guess of {name!r}, {unknown.guess:g}, lies outside of its bounds {unknown.low:g} to "
            f"{unknown.high:g}; guess a value between them"
        )
    if unknown.scale != "linear" and unknown.free and unknown.guess <= 0.0:
        raise ConfigError(f"the guess of {name!r} must be above 0 on a {unknown.scale} scale, got {unknown.guess:g}")
    if prior is None:
        return
    if prior.kind not in PRIORS:
        raise ConfigError(f"{name!r} has the prior {prior.kind!r}; it can be {', '.join(PRIORS)}")
    if prior.kind in ("uniform", "log-uniform"):
        usable = len(prior.numbers) == 2 and prior.numbers[0] < prior.numbers[1]
        usable = usable and (prior.kind == "uniform" or prior.numbers[0] > 0)
    else:
        scales = prior.numbers if prior.kind == "gamma" else prior.numbers[-1:]
        few = 1 if prior.kind in ("chi-squared", "exponential", "rayleigh") else 2
        usable = len(prior.numbers) == few and all(map(math.isfinite, prior.numbers)) and min(scales) > 0
    if not usable:
        raise ConfigError(f"the prior {prior.kind!r} of {name!r} cannot have the numbers {list(prior.numbers)}")
