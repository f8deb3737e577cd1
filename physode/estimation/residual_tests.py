r"""Residuals tested, in words: whether they are what independent noise of the assumed distribution leaves.

Residuals :math:`r = (m - g) / s` of normal noise are :math:`(1 - H) \varepsilon`, where H is the projection on what the
unknowns can follow, so that even right equations leave residuals that are a little too small and a little too often
of changing sign. Each test knows this: residuals are divided by :math:`\sqrt{1 - H_{ii}}`, and the lag-1 correlation
is held against its mean and variance under H (as the normal approximation of Durbin and Watson's test does). Laplace's
residuals are first turned into normal ones of equal probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from physode.estimation.estimate import Estimate

Array = NDArray[np.float64]

_SUSPICIOUS = 0.01
_MISSES = "the equation misses something"
_FEWEST = 8  # residuals of an observable that can be tested
_FAR = 4.0
_EXACT = 400  # residuals, up to which the distribution of runs is computed as it is
_LARGE = 5000  # residuals, from which on Shapiro and Wilk's test does not count


@dataclass(frozen=True)
class ResidualTest:
    """One test of the residuals of one observable.

    Attributes
    ----------
    observable
        Its name.
    test
        ``"runs"``, ``"autocorrelation"``, ``"scatter"``, ``"normality"``, ``"outliers"`` or ``"chi-square"``.
    statistic
        Runs; the correlation of neighbours; Spearman's, of the residuals' sizes with the predictions; Shapiro and
        Wilk's W (D'Agostino and Pearson's statistic above 5000 residuals); the largest residual in spreads; the sum of
        squares a degree of freedom.
    p
        Probability of a statistic at least as far off by chance.
    sentence
        What that means.
    """

    observable: str
    test: str
    statistic: float
    p: float
    sentence: str

    @property
    def suspicious(self) -> bool:
        """Whether p is below 0.01."""
        return self.p < _SUSPICIOUS


@dataclass(frozen=True)
class _Sample:
    """The residuals of one observable: experiment by experiment, in the order of time.

    Attributes
    ----------
    r
        In spreads, of unit variance, normal, (n,).
    raw
        Not of unit variance, (n,).
    predicted
        What should have been measured, (n,).
    neighbours
        Which are followed by another of the same experiment, (n - 1,).
    basis
        Rows of an orthonormal basis of what the unknowns can follow, (n, F).
    where
        Experiment and time of each, in words.
    """

    name: str
    r: Array
    raw: Array
    predicted: Array
    neighbours: NDArray[np.bool_]
    basis: Array
    where: tuple[str, ...]
    known: bool


def residual_tests(estimate: Estimate) -> tuple[ResidualTest, ...]:
    """Test the residuals of each observable that has at least eight.

    Parameters
    ----------
    estimate
        What was estimated.

    Returns
    -------
    tuple of ResidualTest
        By observable: runs of equal sign (Wald and Wolfowitz), correlation of neighbours, whether residuals scatter
        more where predictions are larger, normality, outliers (more than 4 spreads) and, where the spread is known, the
        sum of squares.
    """
    tests: list[ResidualTest] = []
    for sample in _samples(estimate):
        tests += [_runs(sample), _autocorrelation(sample)]
        if np.ptp(sample.predicted) > 1e-6 * np.abs(sample.predicted).max():
            tests.append(_scatter(sample))
        tests += [_normality(sample), _outliers(sample)]
        if sample.known:
            tests.append(_chi_square(sample))
    return tuple(tests)


def _samples(estimate: Estimate) -> list[_Sample]:
    data, estimation, facing = estimate.estimation.measurements, estimate.estimation, estimate.problem.facing
    predicted = facing.scaled(estimate.likelihood.prediction)[0][0]
    raw = ((facing.values - predicted) / estimate.noise).numpy()
    laplace = facing.laplace.numpy()
    raw = np.where(laplace, _normal_scores(raw), raw)
    left, singular, _ = np.linalg.svd(estimate.design.numpy(), full_matrices=False)
    left = left[:, singular > 1e-10 * singular.max(initial=0.0)]
    labels = [experiment.name for experiment in estimation.experiments]
    samples = []
    for k, observable in enumerate(estimation.observables):
        rows = np.flatnonzero(data.observable == k)
        rows = rows[np.lexsort((data.times[rows], data.experiment[rows]))]
        if len(rows) < _FEWEST:
            continue
        free = np.sqrt(1.0 - np.minimum((left[rows] ** 2).sum(1), 1.0))
        # What the unknowns follow wholly leaves no residual that could be tested.
        rows, free = rows[free > 1e-3], free[free > 1e-3]
        if len(rows) < _FEWEST:
            continue
        experiments = data.experiment[rows]
        several = len(labels) > 1
        where = tuple(
            f"time {time:g}" + (f" of experiment {labels[e]}" if several else "")
            for e, time in zip(experiments.tolist(), data.times[rows].tolist(), strict=True)
        )
        samples.append(
            _Sample(
                name=observable.name,
                r=raw[rows] / free,
                raw=raw[rows],
                predicted=predicted[rows].numpy(),
                neighbours=experiments[1:] == experiments[:-1],
                basis=left[rows],
                where=where,
                known=observable.spread is not None,
            )
        )
    return samples


def _normal_scores(r: Array) -> Array:
    """Return normal values as probable as Laplace's: by the smaller tail, which does not round to 1."""
    tail = 0.5 * np.exp(-np.abs(r))
    return np.asarray(-np.sign(r) * special.ndtri(tail), dtype=np.float64)


def _told(p: float, above: bool, expected: str, more: str, less: str) -> str:
    """Return what a test says: that residuals are as expected or, where p is small, how they are off."""
    if p >= _SUSPICIOUS:
        return expected
    return more if above else less


def _runs(sample: _Sample) -> ResidualTest:
    """Count runs of equal sign, within experiments."""
    signs = sample.r > 0
    ends = np.flatnonzero(~sample.neighbours) + 1
    parts = np.split(signs, ends)
    runs = sum(1 + int((part[1:] != part[:-1]).sum()) for part in parts)
    p, expected = _runs_p([(int(part.sum()), int((~part).sum())) for part in parts], runs)
    begin = f"residuals of {sample.name} change sign in {runs} runs where {expected:.0f} are expected, p = {p:.2g}"
    sentence = _told(
        p, runs < expected,
        f"residuals of {sample.name} change sign as often as noise does (p = {p:.2g})",
        f"{begin}: {_MISSES}, or noise is correlated",
        f"{begin}: neighbours undo each other, as where values were differenced or alternate",
    )  # fmt: skip
    return ResidualTest(sample.name, "runs", float(runs), p, sentence)


def _runs_p(counts: Sequence[tuple[int, int]], runs: int) -> tuple[float, float]:
    """Return the two-sided probability of a number of runs, and the number expected, given the signs of each part."""
    expected = sum(1 + 2 * a * b / (a + b) for a, b in counts)
    if sum(a + b for a, b in counts) <= _EXACT:
        mass = np.ones(1)
        for a, b in counts:
            mass = np.convolve(mass, _runs_mass(a, b))
        lower, upper = mass[: runs + 1].sum(), mass[runs:].sum()
        return float(min(1.0, 2 * min(lower, upper))), expected
    variance = sum(2 * a * b * (2 * a * b - a - b) / ((a + b) ** 2 * (a + b - 1)) for a, b in counts if a + b > 1)
    if variance == 0:
        return 1.0, expected
    distance = max(abs(runs - expected) - 0.5, 0.0) / np.sqrt(variance)
    return float(2 * stats.norm.sf(distance)), expected


def _runs_mass(a: int, b: int) -> Array:
    """Return the probabilities of 0, 1, 2, ... runs of a signs of one kind and b of the other (Wald & Wolfowitz)."""
    if not a or not b:
        return np.array([0.0, 1.0])
    k = np.arange(1, min(a, b) + 1)
    mass = np.zeros(2 * min(a, b) + 2)
    total = _log_choose(a + b, a)
    mass[2 * k] = 2 * np.exp(_log_choose(a - 1, k - 1) + _log_choose(b - 1, k - 1) - total)
    mass[2 * k + 1] = np.exp(_log_choose(a - 1, k) + _log_choose(b - 1, k - 1) - total)
    mass[2 * k + 1] += np.exp(_log_choose(a - 1, k - 1) + _log_choose(b - 1, k) - total)
    return mass


def _log_choose(n: int, k: int | NDArray[np.int64]) -> Array:
    """Return the logarithm of the binomial coefficient, -inf where k is above n."""
    k = np.asarray(k)
    inside = np.minimum(k, n)
    found = special.gammaln(n + 1) - special.gammaln(inside + 1) - special.gammaln(n - inside + 1)
    return np.asarray(np.where(k > n, -np.inf, found), dtype=np.float64)


def _autocorrelation(sample: _Sample) -> ResidualTest:
    r"""Hold :math:`\rho = \sum r_i r_{i+1} / \sum r_i^2` against its mean and variance for projected normal noise."""
    r, basis, link = sample.raw, sample.basis, sample.neighbours.astype(float)
    rho = float((link * r[1:] * r[:-1]).sum() / np.square(r).sum()) if r.any() else 0.0
    n, pairs = len(r), float(link.sum())
    # rho is r'Ar / r'r, with A 1/2 between neighbours, and cov r = M = 1 - U U'.
    trace = n - np.square(basis).sum()
    mean = -np.sum(basis * _neighbouring(basis, link)) / trace
    moved = _neighbouring(basis, link) - mean * basis
    inner = basis.T @ moved
    spread = 2 * (pairs / 2 + n * mean**2 - 2 * np.square(moved).sum() + np.square(inner).sum()) / (trace * (trace + 2))
    z = (rho - mean) / np.sqrt(spread) if spread > 0 else 0.0
    p = float(2 * stats.norm.sf(abs(z)))
    begin = f"residuals of {sample.name} {{}} (lag-1 correlation {rho:.2g}, p = {p:.2g})"
    sentence = _told(
        p, rho > mean,
        begin.format("do not depend on the one before"),
        begin.format("follow one another") + f": {_MISSES}, or noise is correlated",
        begin.format("alternate") + ": neighbouring values are not independent",
    )  # fmt: skip
    return ResidualTest(sample.name, "autocorrelation", rho, p, sentence)


def _neighbouring(columns: Array, link: Array) -> Array:
    """Return half of both neighbours' sum, within experiments."""
    found = np.zeros_like(columns)
    found[1:] += 0.5 * link[:, None] * columns[:-1]
    found[:-1] += 0.5 * link[:, None] * columns[1:]
    return found


def _scatter(sample: _Sample) -> ResidualTest:
    """Correlate the sizes of residuals with predictions, by their ranks."""
    found = stats.spearmanr(np.abs(sample.r), sample.predicted)
    rank, p = float(found.statistic), float(found.pvalue)
    begin = f"residuals of {sample.name} scatter {{}} (p = {p:.2g})"
    sentence = _told(
        p, rank > 0,
        begin.format("alike where it is small and large"),
        begin.format("more where it is large") + ": the noise may be proportional, or log-normal",
        begin.format("less where it is large") + ": the spread is not constant",
    )  # fmt: skip
    return ResidualTest(sample.name, "scatter", rank, p, sentence)


def _normality(sample: _Sample) -> ResidualTest:
    if np.ptp(sample.r) == 0:
        return ResidualTest(sample.name, "normality", 1.0, 1.0, f"residuals of {sample.name} are all the same")
    found = stats.shapiro(sample.r) if len(sample.r) <= _LARGE else stats.normaltest(sample.r)
    p = float(found.pvalue)
    if p >= _SUSPICIOUS:
        sentence = f"residuals of {sample.name} are distributed as assumed (p = {p:.2g})"
    else:
        heavy = stats.kurtosis(sample.r) > 1.0
        skew = float(stats.skew(sample.r))
        if abs(skew) > 1.0:
            remedy = "they are skewed: is the noise proportional to the value, or log-normal?"
        elif heavy:
            remedy = "their tails are heavy: are there outliers, or is a Laplace distribution closer?"
        else:
            remedy = "standard errors and bands are approximate"
        sentence = f"residuals of {sample.name} are not distributed as assumed (p = {p:.2g}): {remedy}"
    return ResidualTest(sample.name, "normality", float(found.statistic), p, sentence)


def _outliers(sample: _Sample) -> ResidualTest:
    size = np.abs(sample.r)
    far = np.flatnonzero(size > _FAR)
    largest = float(size.max())
    p = float(-np.expm1(len(size) * np.log1p(-min(2 * stats.norm.sf(largest), 1 - 1e-16))))
    if not len(far):
        sentence = f"no residual of {sample.name} is larger than {_FAR:g} spreads (the largest is {largest:.2g})"
    else:
        shown = [f"{sample.where[i]} ({size[i]:.2g} spreads)" for i in far[np.argsort(-size[far])][:3]]
        more = f" and {len(far) - 3} more" if len(far) > 3 else ""
        lies = "value lies" if len(far) == 1 else "values lie"
        sentence = f"{len(far)} {lies} far from {sample.name}: at {', '.join(shown)}{more}, p = {p:.2g}: look at them"
    return ResidualTest(sample.name, "outliers", largest, p, sentence)


def _chi_square(sample: _Sample) -> ResidualTest:
    """Hold the sum of squares against its distribution; that of residuals which sum to fewer degrees of freedom."""
    freedom = len(sample.raw) - float(np.square(sample.basis).sum())
    total = float(np.square(sample.raw).sum())
    p = float(min(1.0, 2 * min(stats.chi2.sf(total, freedom), stats.chi2.cdf(total, freedom))))
    ratio = total / freedom
    begin = (
        f"residuals of {sample.name} are {{}} their spread (chi-square {ratio:.3g} a degree of freedom, p = {p:.2g})"
    )
    sentence = _told(
        p, ratio > 1,
        begin.format("as large as"),
        begin.format("larger than") + f": {_MISSES}, or the spread is too small",
        begin.format("smaller than") + ": the spread is too large, or values were smoothed",
    )  # fmt: skip
    return ResidualTest(sample.name, "chi-square", ratio, p, sentence)
