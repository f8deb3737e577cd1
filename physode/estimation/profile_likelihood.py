r"""Profile likelihoods: the least -log L over all other unknowns as a function of one.

Its 95 % interval is where this rises by less than :math:`\tfrac12 \chi^2_{1, 0.95} = 1.92` above the minimum. Where
spreads are found from n residuals with :math:`\nu` degrees of freedom it is where it rises by less than
:math:`\tfrac n2 \ln(1 + q^2 / \nu)`, q being Student's quantile: the same as the F test, and for linear models exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from physode.errors import ConfigError, SolveError
from physode.estimation.estimate import LEVEL, Estimate
from physode.estimation.scoring import minimise_each
from physode.summary import frame

Array = NDArray[np.float64]

_ROUNDS = 12  # in which the ends of an interval are looked for
_FINE = 1e-3  # of the threshold, within which an end is met
_BETTER = 1e-3  # of -log L: a profile that falls by more has found a better minimum
_ARRIVED = 1e-6  # of the squared distance to a minimum, in standard errors


@dataclass(frozen=True)
class Profile:
    """The profile likelihood of one unknown.

    Attributes
    ----------
    name, unit
        Of the unknown.
    value, error
        Its estimate with standard error, None where it has none.
    values
        Where the others were estimated anew, (m,), rising.
    delta
        How much -log L, priors included, lies above that of the estimate, (m,).
    others
        The values of all free unknowns there, by name, (m,) each.
    threshold
        Of `delta` at the ends of the 95 % interval.
    interval
        The ends; None where `delta` stays below the threshold as far as was looked, or up to a bound.
    """

    name: str
    unit: str
    value: float
    error: float | None
    values: Array
    delta: Array
    others: Mapping[str, Array]
    threshold: float
    interval: tuple[float | None, float | None]

    @property
    def better(self) -> bool:
        """Whether the profile came across a better minimum than the estimate."""
        return bool(self.delta.min() < -_BETTER)

    @property
    def sentence(self) -> str:
        """The interval in words."""
        low, high = self.interval
        unit = f" {self.unit}" if self.unit else ""
        if low is None and high is None:
            text = f"{self.name} is not determined: no value that was tried can be excluded"
        elif low is None:
            text = f"{self.name} is below {high:.4g}{unit}: no lower end can be told"
        elif high is None:
            text = f"{self.name} is above {low:.4g}{unit}: no upper end can be told"
        else:
            text = f"{self.name} lies between {low:.4g} and {high:.4g}{unit}"
        return text + ("; the profile found a better minimum: search from more starts" if self.better else "")

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each value.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        return frame({**self.others, self.name: self.values, "delta": self.delta}, what="a table of a profile")


def profile(estimate: Estimate, name: str, *, points: int = 24, iterations: int = 100) -> Profile:
    """Estimate all other unknowns anew while one of them is held, at many values of it in one batch.

    Parameters
    ----------
    estimate
        What was estimated.
    name
        The unknown.
    points
        How many values are spread over the interval, beside those by which its ends were found.
    iterations
        Most evaluations of each.

    Raises
    ------
    ConfigError
        If it is none of the free unknowns.
    """
    names = [unknown.name for unknown in estimate.problem.scales.free]
    if name not in names:
        raise ConfigError(f"{name!r} is none of the constants that were estimated: {', '.join(names)}")
    if points < 2:
        raise ConfigError(f"`points` must be at least 2, got {points}")
    walk = _Walk(estimate, names.index(name), iterations)
    walk.seek()
    walk.spread(points)
    return walk.profile()


class _Walk:
    """The values of one unknown at which the others were estimated anew so far: in z, with -log L above the estimate's.

    Ends of the interval are approached from both sides at once: outwards in growing steps until the threshold is
    passed, then by secants of the square root, which is nearly linear. An unknown that the data do not determine is
    moved by factors of up to eight, the others along the combination that is open.
    """

    def __init__(self, estimate: Estimate, index: int, iterations: int) -> None:
        self.estimate, self.index, self.iterations = estimate, index, iterations
        scales, z = estimate.problem.scales, estimate.z
        self.threshold = threshold(estimate)
        self.low, self.high = float(scales.low[index]), float(scales.high[index])
        self.base = float(estimate.minima.loss[estimate.minima.best])
        self.at, self.delta, self.z = np.array([float(z[index])]), np.zeros(1), z[None]
        deviation = float(estimate.covariance[index, index].sqrt())
        self.determined = math.isfinite(deviation) or bool(estimate.at_bound[index])
        alone = float(estimate.information[index, index])  # of an unknown at its bound
        self.size = deviation if math.isfinite(deviation) else 1 / math.sqrt(alone) if alone > 0 else 1.0

    @property
    def middle(self) -> float:
        """The estimate, unless a better one was met."""
        best = int(self.delta.argmin())
        return float(self.at[best]) if self.delta[best] < -_BETTER else float(self.estimate.z[self.index])

    def seek(self) -> None:
        """Find both ends."""
        z, scales = float(self.estimate.z[self.index]), self.estimate.problem.scales
        if self.determined:
            steps = np.array([0.5, 1.0, 1.5]) * self.estimate.quantile * self.size
            self.add(np.concatenate([z - steps, z + steps]))
        else:
            powers = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
            base = float(scales.base[self.index])
            self.add(z + powers * math.log(2) / base if base else z * 2**powers if z else powers)
        for _ in range(_ROUNDS):
            wanted = [value for sign in (-1, 1) for value in self._next(sign)]
            if not wanted:
                break
            self.add(np.array(wanted))

    def _bracket(self, sign: int) -> tuple[float, float | None]:
        """Return how far out the interval ends on one side, and how far off `delta` is about there; None if open."""
        rows = np.flatnonzero(sign * (self.at - self.middle) >= 0)
        order = rows[np.argsort(sign * self.at[rows])]
        distances, delta = sign * (self.at[order] - self.middle), self.delta[order]
        above = np.flatnonzero(delta > self.threshold)
        if not len(above):
            return float(distances[-1]), None
        k = int(above[0])
        low, high = (math.sqrt(max(value, 0.0)) for value in delta[k - 1 : k + 1])
        share = (math.sqrt(self.threshold) - low) / (high - low) if math.isfinite(high) else 0.5
        end = distances[k - 1] + share * (distances[k] - distances[k - 1])
        return float(end), float(np.abs(delta[k - 1 : k + 1] - self.threshold).min())

    def _next(self, sign: int) -> list[float]:
        """Return where to look next on one side: nowhere where its end is met, or there is none."""
        bound = self.low if sign < 0 else self.high
        end, off = self._bracket(sign)
        here = self.middle + sign * end
        if off is not None:
            return [] if off < _FINE * self.threshold else [here]
        if not self.determined or abs(here - bound) < 1e-12 * max(abs(bound), 1.0):
            return []
        return [float(np.clip(self.middle + sign * 2 * max(end, self.size), self.low, self.high))]

    def spread(self, points: int) -> None:
        """Add evenly spread values over a little more than the interval."""
        wide = [self._bracket(sign) for sign in (-1, 1)]
        reach = [end * (1.15 if off is not None else 1.0) for end, off in wide]
        self.add(np.linspace(max(self.middle - reach[0], self.low), min(self.middle + reach[1], self.high), points))

    def add(self, values: Array) -> None:
        """Estimate the others anew at some values, starting from the nearest that was looked at, all in one batch."""
        values = np.unique(np.clip(values, self.low, self.high))
        values = values[~np.isclose(values[:, None], self.at, rtol=1e-12, atol=0.0).any(1)]
        if not len(values):
            return
        solved = np.flatnonzero(np.isfinite(self.delta))
        nearest = solved[np.abs(values[:, None] - self.at[solved]).argmin(1)]
        held = torch.from_numpy(values)
        z = self._moved(self.z[torch.from_numpy(nearest)], held)
        scales = self.estimate.problem.scales
        low, high = scales.low.repeat(len(z), 1), scales.high.repeat(len(z), 1)
        low[:, self.index] = high[:, self.index] = held
        try:
            minima = minimise_each(
                lambda z, _: self.estimate.nearby(z),
                z,
                low,
                high,
                reach=scales.reach,
                iterations=self.iterations,
                arrived=_ARRIVED,
            )
            z, loss = minima.z, minima.loss
        except SolveError:  # at all of them
            loss = torch.full((len(z),), torch.inf, dtype=torch.float64)
        order = np.argsort(at := np.concatenate([self.at, values]), kind="stable")
        self.at, self.delta = at[order], np.concatenate([self.delta, loss.numpy() - self.base])[order]
        self.z = torch.cat([self.z, z])[torch.from_numpy(order)]

    def _moved(self, z: Tensor, held: Tensor) -> Tensor:
        """Return points, (m, F), with one unknown moved, and the others with it so that the loss rises the least."""
        modes, i = self.estimate.modes, self.index
        if self.determined:
            covariance = modes.pseudo_inverse
            direction = covariance[i] / covariance[i, i] if float(covariance[i, i]) > 0 else torch.zeros_like(z[0])
            moved = z + (held - z[:, i])[:, None] * direction
        else:
            # Open combinations are products and ratios most of the time: along them relative moves are constant.
            row = modes.open[modes.open[:, i].abs().argmax()]
            relative = (self.estimate.problem.scales.base == 0) & (self.estimate.z != 0)
            direction = row / torch.where(relative, self.estimate.z, 1.0)
            direction = direction / direction[i]
            far = (held / z[:, i]).log() if bool(relative[i]) else held - z[:, i]
            step = far[:, None] * direction
            moved = torch.where(relative, z * step.exp(), z + step)
        return moved.index_copy(1, torch.tensor([i]), held[:, None])

    def profile(self) -> Profile:
        """Return what was found."""
        scales = self.estimate.problem.scales
        constant = self.estimate[scales.free[self.index].name]
        theta = scales.values(self.z).numpy()
        rows = np.isfinite(self.delta)
        ends: list[float | None] = []
        for sign in (-1, 1):
            end, off = self._bracket(sign)
            z = self.estimate.z.clone()
            z[self.index] = self.middle + sign * end
            ends.append(None if off is None else float(scales.values(z[None])[0, self.index]))
        names = [unknown.name for unknown in scales.free]
        return Profile(
            name=constant.name,
            unit=constant.unit,
            value=constant.value,
            error=constant.error,
            values=theta[rows, self.index],
            delta=self.delta[rows],
            others={name: theta[rows, i] for i, name in enumerate(names) if i != self.index},
            threshold=self.threshold,
            interval=(ends[0], ends[1]),
        )


def threshold(estimate: Estimate) -> float:
    """Return by how much -log L rises from the estimate to the ends of a 95 % interval."""
    groups = estimate.problem.facing.groups
    n = sum(map(len, groups))
    freedom = n - len(estimate.z)
    if not groups or freedom < 1:
        return float(0.5 * stats.chi2.ppf(LEVEL, 1))
    return 0.5 * n * math.log1p(estimate.quantile**2 / freedom)
