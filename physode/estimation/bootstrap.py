r"""The bootstrap: constants estimated again from data that could have been measured as well.

A *parametric* sample adds noise of the estimated (or known) spread and distribution to the predictions at the
estimate; a *residual* sample adds residuals drawn with replacement, of the same observable, each divided by
:math:`\sqrt{1 - H_{ii}}` with its leverage, centred, and multiplied by the spread of where it is put. Samples are
fitted from the estimate on, all in one batch. Priors and bounds stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.errors import ConfigError, SolveError
from physode.estimation.estimate import LEVEL, Estimate
from physode.estimation.likelihood import Facing
from physode.estimation.scoring import Point, minimise_each
from physode.estimation.search import Problem
from physode.summary import frame

Array = NDArray[np.float64]

KINDS = ("parametric", "residual")

_ARRIVED = 1e-6  # of the squared distance to a sample's minimum, in standard errors
_FEWEST = 3  # residuals of an observable that can be drawn from


@dataclass(frozen=True)
class Bootstrap:
    """Constants of B samples.

    Attributes
    ----------
    names
        Of the P constants that were estimated.
    estimated
        Their values, (P,).
    values
        Those of the samples, (B, P); those whose search did not arrive are left out.
    kind
        ``"parametric"`` or ``"residual"``.
    failed
        How many were left out.
    """

    names: tuple[str, ...]
    estimated: Array
    values: Array
    kind: str
    failed: int

    @property
    def errors(self) -> Array:
        """Standard errors, (P,): the samples' standard deviations."""
        return np.asarray(self.values.std(0, ddof=1))

    @property
    def bias(self) -> Array:
        """The samples' mean less the estimate, (P,)."""
        return np.asarray(self.values.mean(0) - self.estimated)

    def intervals(self, level: float = LEVEL) -> Array:
        """Return the percentile intervals, (P, 2).

        Raises
        ------
        ConfigError
            If `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"`level` must lie between 0 and 1, got {level}")
        return np.quantile(self.values, [0.5 - level / 2, 0.5 + level / 2], axis=0).T

    @property
    def correlation(self) -> Array:
        """Of the samples, (P, P)."""
        return np.atleast_2d(np.corrcoef(self.values, rowvar=False))

    def __getitem__(self, name: str) -> Array:
        """Return the samples of one constant, (B,)."""
        if name not in self.names:
            raise KeyError(f"{name!r} is none of {', '.join(self.names)}")
        return np.asarray(self.values[:, self.names.index(name)])

    def to_frame(self) -> Any:
        """Return errors and intervals as a pandas DataFrame, a row for each constant.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        low, high = self.intervals().T
        columns: Mapping[str, Any] = {
            "name": self.names,
            "value": self.estimated,
            "error": self.errors,
            "low": low,
            "high": high,
            "bias": self.bias,
        }
        return frame(columns, index="name", what="a table of constants")

    def __repr__(self) -> str:
        failed = f", {self.failed} did not arrive" if self.failed else ""
        lines = [f"Bootstrap ({self.kind}) of {len(self.values)} samples{failed}"]
        width = max(map(len, self.names))
        rows = zip(self.names, self.estimated, self.errors, self.intervals(), strict=True)
        for name, value, error, (low, high) in rows:
            lines.append(f"  {name:<{width}} = {value:.10g} +- {error:.3g}, 95 % from {low:.6g} to {high:.6g}")
        return "\n".join(lines)


def bootstrap(
    estimate: Estimate, *, samples: int = 200, seed: int = 0, kind: str = "parametric", iterations: int = 100
) -> Bootstrap:
    """Estimate constants from samples that could have been measured as well, in one batch.

    Parameters
    ----------
    estimate
        What was estimated.
    samples
        How many, B.
    seed
        Of the noise.
    kind
        ``"parametric"`` noise of the assumed distribution; ``"residual"``: residuals drawn with replacement, which need
        no distribution, but at least three of each observable.
    iterations
        Most evaluations of a sample.

    Raises
    ------
    ConfigError
        If `kind` is neither, there are too few samples or residuals.
    SolveError
        If the search of no two samples arrives.
    """
    if kind not in KINDS:
        raise ConfigError(f"`kind` must be {' or '.join(KINDS)}, got {kind!r}")
    if samples < 2:
        raise ConfigError(f"`samples` must be at least 2, got {samples}")
    problem = estimate.problem
    facing, scales = problem.facing, problem.scales
    noise = _noise(estimate, samples, np.random.default_rng(seed), kind)
    predicted = facing.scaled(estimate.likelihood.prediction)[0]
    drawn = facing.facing(predicted + noise * estimate.noise)
    z = estimate.z.expand(samples, -1)
    minima = minimise_each(
        partial(_point, estimate.nearby, drawn),
        z,
        scales.low,
        scales.high,
        reach=scales.reach,
        iterations=iterations,
        arrived=_ARRIVED,
    )
    arrived = torch.tensor(minima.converged) & torch.isfinite(minima.loss)
    count = int(arrived.sum())
    if count < 2:
        raise SolveError(f"the search arrived in {count} of {samples} samples; allow more `iterations`")
    return Bootstrap(
        names=tuple(unknown.name for unknown in scales.free),
        estimated=scales.values(estimate.z[None])[0].numpy(),
        values=scales.values(minima.z[arrived]).numpy(),
        kind=kind,
        failed=samples - count,
    )


def _point(problem: Problem, drawn: Facing, z: Tensor, starts: Tensor) -> Point:
    return problem.facing_others(z, drawn.take(starts))


def _noise(estimate: Estimate, samples: int, rng: np.random.Generator, kind: str) -> Tensor:
    """Return noise in spreads, (B, n)."""
    facing, n = estimate.problem.facing, len(estimate.estimation.measurements)
    if kind == "parametric":
        laplace = facing.laplace.numpy()
        return torch.from_numpy(np.where(laplace, rng.laplace(size=(samples, n)), rng.standard_normal((samples, n))))
    predicted = facing.scaled(estimate.likelihood.prediction)[0][0]
    free = (1.0 - estimate.leverages).clamp_min(1e-6).sqrt()
    residuals = ((facing.values - predicted) / estimate.noise / free).numpy()
    noise = np.empty((samples, n))
    which = estimate.estimation.measurements.observable
    for k, observable in enumerate(estimate.estimation.observables):
        rows = np.flatnonzero(which == k)
        if not len(rows):
            continue
        if len(rows) < _FEWEST:
            raise ConfigError(
                f"{observable.name} has {len(rows)} residuals, too few to draw from; use kind='parametric'"
            )
        own = residuals[rows] - residuals[rows].mean()
        noise[:, rows] = rng.choice(own, size=(samples, len(rows)))
    return torch.from_numpy(noise)
