"""What is counted over the fits of one method at one noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CLOSE", "RECOVERED", "Fits", "Share", "coverage", "largest_errors", "misfits", "pulls", "recovered"]

Array = np.ndarray[Any, Any]
Fits = Sequence[Mapping[str, Any]]
"""One entry a system, as :func:`physode.experiments.recovery.least_squares.fit_systems` has them."""

RECOVERED = 0.01
"""Largest relative error of a mass that counts as recovered."""
CLOSE = 0.1
"""Smallest distance, in AU, below which an encounter counts as close: half of the systems have one."""

_EXACT = 1e-5  # AU; residuals beyond this are none of the solvers' errors, which stay below 1e-6 AU
_ABOVE = 1.5  # standard deviations; 900 residuals have a root mean square within 1.1


@dataclass(frozen=True)
class Share:
    """A count out of a number."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else math.nan

    @property
    def error(self) -> float:
        r"""The binomial standard error, :math:`\sqrt{p (1 - p) / n}`."""
        return math.sqrt(self.value * (1 - self.value) / self.of) if self.of else math.nan

    def __str__(self) -> str:
        return f"{self.count} of {self.of}, {100 * self.value:.1f} +- {100 * self.error:.1f} %" if self.of else "none"


def largest_errors(fits: Fits) -> Array:
    """Return the largest relative error of the three masses, (n,); infinite where there is no fit."""
    return np.array([np.inf if each["failure"] else _errors(each).max() for each in fits])


def recovered(fits: Fits) -> Share:
    """Return in how many systems all masses are right within 1 %."""
    return Share(int((largest_errors(fits) <= RECOVERED).sum()), len(fits))


def misfits(fits: Fits, noise: float) -> list[str]:
    """Return the systems whose fit ended where the data are not met: at another minimum, or on the way.

    The root mean square residual is then more than 1.5 times the noise, or 1e-5 AU without noise.
    """
    limit = _ABOVE * noise if noise else _EXACT
    return [each["system"] for each in fits if not each["failure"] and math.sqrt(each["loss"]) > limit]


def coverage(fits: Fits, which: Callable[[float], bool] = lambda distance: True) -> Share:
    """Return how many masses lie inside their 95 % intervals, of all masses of the systems that `which` chooses.

    Parameters
    ----------
    fits
        Masses without an interval count as not covered.
    which
        Says whether a system counts, by its smallest distance.
    """
    counted = [each for each in fits if which(each["min_distance"])]
    inside = [
        low <= mass <= high
        for each in counted
        if not each["failure"] and each["intervals"]
        for mass, (low, high) in zip(each["masses"], each["intervals"], strict=True)
    ]
    return Share(sum(inside), 3 * len(counted))


def pulls(fits: Fits) -> Array:
    """Return the errors of masses in standard errors, of all fits that have them, (3 n,)."""
    found = [
        (np.array(each["fitted"]) - each["masses"]) / each["errors"]
        for each in fits
        if not each["failure"] and each["errors"]
    ]
    return np.concatenate(found) if found else np.empty(0)


def _errors(fit: Mapping[str, Any]) -> Array:
    found: Array = np.abs(np.array(fit["fitted"]) / fit["masses"] - 1.0)
    return found
