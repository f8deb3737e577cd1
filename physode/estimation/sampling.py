"""Draws from the posterior by an ensemble of walkers (emcee), all of which are solved as one batch.

Goodman and Weare's ensembles (2010) are indifferent to how unknowns are scaled and correlated. The moves are those of
differential evolution (ter Braak and Vrugt 2008), four in five steps, and its snooker move. Walkers begin in the normal
approximation of the posterior about the estimate.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physode.errors import ConfigError
from physode.estimation.estimate import LEVEL, Estimate
from physode.estimation.posterior import LogPosterior, log_posterior
from physode.optional_imports import needs
from physode.summary import frame

Array = NDArray[np.float64]

_log = logging.getLogger(__name__)

_ROUGH = (1e-6, 1e-8)
_WALKERS = 32  # at least
_NEAR = 0.5  # of the normal approximation's width: where walkers begin
_ENOUGH = 50  # autocorrelation times that draws should last


@dataclass(frozen=True)
class Posterior:
    """Draws from a posterior.

    Attributes
    ----------
    names
        Of the P constants that were estimated.
    draws
        Their values, (walkers, draws, P).
    log_density
        Of the values on the scale without bounds, up to a constant, (walkers, draws).
    acceptance
        Share of proposals that each walker accepted, (walkers,).
    autocorrelation
        The integrated autocorrelation time of each constant, in draws, (P,).
    observed
        What was measured, by observable.
    """

    names: tuple[str, ...]
    draws: Array
    log_density: Array
    acceptance: Array
    autocorrelation: Array
    observed: Mapping[str, Array]

    @property
    def effective(self) -> Array:
        """How many independent draws these are worth, (P,)."""
        return np.asarray(self.draws.shape[0] * self.draws.shape[1] / self.autocorrelation)

    @property
    def enough(self) -> bool:
        """Whether the walks last 50 autocorrelation times, without which these themselves are uncertain."""
        return bool((self.draws.shape[1] >= _ENOUGH * self.autocorrelation).all())

    def __getitem__(self, name: str) -> Array:
        """Return all draws of one constant, (walkers * draws,)."""
        if name not in self.names:
            raise KeyError(f"{name!r} is none of {', '.join(self.names)}")
        return np.asarray(self.draws[..., self.names.index(name)].reshape(-1))

    def intervals(self, level: float = LEVEL) -> Array:
        """Return the intervals between quantiles, (P, 2)."""
        flat = self.draws.reshape(-1, len(self.names))
        return np.quantile(flat, [0.5 - level / 2, 0.5 + level / 2], axis=0).T

    def to_frame(self) -> Any:
        """Return means, standard deviations and intervals as a pandas DataFrame, a row for each constant.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        flat, (low, high) = self.draws.reshape(-1, len(self.names)), self.intervals().T
        columns: dict[str, Any] = {"name": self.names, "mean": flat.mean(0), "deviation": flat.std(0, ddof=1)}
        columns |= {"low": low, "high": high, "effective": self.effective}
        return frame(columns, index="name", what="a table of constants")

    def to_arviz(self) -> Any:
        """Return ArviZ's InferenceData: posterior, log density of the draws, and what was measured.

        Walkers are its chains, as in ArviZ's own reading of emcee; they know of each other, so that R-hat flatters.

        Raises
        ------
        ConfigError
            If ArviZ is not installed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it tells of its next version, once a day
            arviz = needs("arviz", extra="sampling", purpose="export to ArviZ")
        return arviz.from_dict(
            posterior={name: self.draws[..., i] for i, name in enumerate(self.names)},
            sample_stats={"lp": self.log_density},
            observed_data=dict(self.observed),
        )

    def __repr__(self) -> str:
        walkers, draws, _ = self.draws.shape
        lines = [f"Posterior of {walkers} walkers with {draws} draws each, {self.acceptance.mean():.0%} accepted"]
        width = max(map(len, self.names))
        flat = self.draws.reshape(-1, len(self.names))
        for i, (name, (low, high)) in enumerate(zip(self.names, self.intervals(), strict=True)):
            lines.append(
                f"  {name:<{width}} = {flat[:, i].mean():.6g} +- {flat[:, i].std(ddof=1):.3g}, 95 % from {low:.6g} to "
                f"{high:.6g}, {self.effective[i]:.0f} independent draws"
            )
        if not self.enough:
            lines.append(f"  fewer than {_ENOUGH} autocorrelation times: ask for more draws")
        return "\n".join(lines)


def sample(
    estimate: Estimate,
    draws: int = 1000,
    *,
    walkers: int | None = None,
    tune: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """Draw from the posterior with emcee.

    Parameters
    ----------
    estimate
        What was estimated; every unknown without a prior should be determined, or have bounds.
    draws
        Of each walker.
    walkers
        How many, at least two more than twice as many as constants; by default four times as many, at least 32.
    tune
        Steps before the first draw, which are thrown away.
    seed
        Of the walk.
    progress
        Whether to show a bar.

    Raises
    ------
    ConfigError
        If emcee is not installed, an unknown is neither determined nor bounded, or there are too few walkers or draws.
    """
    emcee = needs("emcee", extra="sampling", purpose="sampling a posterior")
    posterior = _loose(log_posterior(estimate))
    count = max(_WALKERS, 4 * posterior.dimension) if walkers is None else walkers
    if count < 2 * posterior.dimension + 2 or count % 2:
        raise ConfigError(
            f"`walkers` must be even and at least {2 * posterior.dimension + 2} for {posterior.dimension} constants, "
            f"got {count}"
        )
    if draws < 1 or tune < 0:
        raise ConfigError(f"`draws` must be at least 1 and `tune` at least 0, got {draws} and {tune}")
    rng = np.random.default_rng(seed)
    begin = _begin(estimate, posterior, count, rng)
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]
    sampler = emcee.EnsembleSampler(count, posterior.dimension, posterior, vectorize=True, moves=moves)
    sampler.random_state = np.random.RandomState(rng.integers(2**32)).get_state()
    state = sampler.run_mcmc(begin, tune, progress=progress) if tune else begin
    if tune:
        sampler.reset()
    sampler.run_mcmc(state, draws, progress=progress)
    y = sampler.get_chain()
    with np.errstate(invalid="ignore"):  # of walkers that never moved
        time = sampler.get_autocorr_time(quiet=True, tol=0)
    found = Posterior(
        names=posterior.names,
        draws=posterior.constrain(y).swapaxes(0, 1),
        log_density=sampler.get_log_prob().T,
        acceptance=sampler.acceptance_fraction,
        autocorrelation=np.where(np.isfinite(time), np.maximum(time, 1.0), float(draws)),
        observed=_observed(estimate),
    )
    if not found.enough:
        _log.warning("the walks last fewer than %d autocorrelation times; ask for more draws", _ENOUGH)
    return found


def _loose(posterior: LogPosterior) -> LogPosterior:
    """Return the same density from solves that are accurate to what draws resolve."""
    options = posterior.problem.options
    loose = replace(options, rtol=max(options.rtol, _ROUGH[0]), atol=max(options.atol, _ROUGH[1]))
    return LogPosterior(replace(posterior.problem, options=loose))


def _begin(estimate: Estimate, posterior: LogPosterior, count: int, rng: np.random.Generator) -> Array:
    """Return where walkers begin, (W, F): near the estimate, at points that can be solved."""
    scales = estimate.problem.scales
    deviation = estimate.modes.pseudo_inverse.diagonal().sqrt()
    open_ended = ~(torch.isfinite(scales.low) & torch.isfinite(scales.high))
    for i, unknown in enumerate(scales.free):
        lost = not math.isfinite(float(estimate.covariance[i, i])) and not bool(estimate.at_bound[i])
        if lost and bool(open_ended[i]) and unknown.prior is None:
            raise ConfigError(f"the data do not determine {unknown.name!r}: give it bounds or a prior to draw from")
    spread = torch.where(deviation > 0, deviation, 0.01 * estimate.z.abs().clamp_min(1e-3)).numpy()
    low, high = scales.low.numpy(), scales.high.numpy()
    inner = 1e-3 * np.where(np.isfinite(high - low), high - low, 1.0)
    values: list[Array] = []
    size = _NEAR
    while sum(len(own) for own in values) < count and size > 1e-6:
        z = estimate.z.numpy() + size * spread * rng.standard_normal((4 * count, len(spread)))
        # Estimates at a bound begin inside of it.
        z = np.where(z < low + inner, low + inner * (1 + rng.random(z.shape)), z)
        z = np.where(z > high - inner, high - inner * (1 + rng.random(z.shape)), z)
        y = posterior.unconstrain(scales.values(torch.from_numpy(z)).numpy())
        values.append(y[np.isfinite(posterior(y))])
        size /= 4
    begin = np.concatenate(values)[:count]
    if len(begin) < count:
        raise ConfigError("the equation cannot be solved near the estimate: no place for walkers to begin")
    return begin


def _observed(estimate: Estimate) -> dict[str, Array]:
    data, observables = estimate.estimation.measurements, estimate.estimation.observables
    return {
        one.name: data.values[data.observable == k] for k, one in enumerate(observables) if (data.observable == k).any()
    }
