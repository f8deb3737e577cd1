"""Tests of residuals: against enumeration, simulation and SciPy, and by what they say."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from physode.estimation import fit, residual_tests
from physode.estimation.fit import estimate
from physode.estimation.problem import Estimation, Experiment, Measurements, Model, Observable, Unknown
from physode.estimation.residual_tests import _autocorrelation, _normal_scores, _runs_mass, _runs_p, _samples

T = np.linspace(0.0, 4.0, 41)


def level(y, *, sigma=None, t=T, distribution="normal"):
    """The fit of a constant: residuals are those about the mean."""
    model = Model(("x",), ("m",), lambda t, x, p, u: 0 * x, lambda p: p, ("m",), stiff=False)
    spread = None if sigma is None else lambda t, x, p, u, q: torch.full_like(t, sigma)
    observable = Observable("y", lambda t, x, p, u, q: x[:, 0], spread, distribution)
    none = np.zeros(len(y), np.int64)
    posed = Estimation(model, (Unknown("m", 0.1),), (Experiment("one"),), (observable,), Measurements(none, none, t, y))
    return estimate(posed, starts=1, growing=False, iterations=30)


def by_name(fitted):
    return {one.test: one for one in residual_tests(fitted)}


@pytest.mark.parametrize(("a", "b"), [(3, 4), (5, 2), (1, 6), (0, 4)])
def test_runs_have_the_probabilities_of_enumeration(a, b):
    counts = np.zeros(a + b + 2)
    for places in itertools.combinations(range(a + b), a):
        signs = np.isin(np.arange(a + b), places)
        counts[1 + int((signs[1:] != signs[:-1]).sum())] += 1
    mass = _runs_mass(a, b)
    np.testing.assert_allclose(mass, (counts / counts.sum())[: len(mass)], atol=1e-12)


def test_many_runs_are_normal():
    small, _ = _runs_p([(150, 150)], 130)
    large, _ = _runs_p([(300, 301)], 280)
    mean, variance = 1 + 2 * 300 * 301 / 601, 2 * 300 * 301 * (2 * 300 * 301 - 601) / (601**2 * 600)
    assert large == pytest.approx(2 * stats.norm.cdf((280.5 - mean) / np.sqrt(variance)), rel=1e-9)
    mean, variance = 151.0, 2 * 150**2 * (2 * 150**2 - 300) / (300**2 * 299)
    assert small == pytest.approx(2 * stats.norm.cdf((130.5 - mean) / np.sqrt(variance)), rel=0.05)


def test_noise_passes_all_tests(rng):
    found = by_name(level(0.1 * rng.standard_normal(41), sigma=0.1))
    assert list(found) == ["runs", "autocorrelation", "normality", "outliers", "chi-square"]
    assert not any(one.suspicious for one in found.values())


def test_a_wrong_equation_leaves_residuals_that_follow_one_another(rng):
    found = by_name(level(np.sin(T) + 0.1 * rng.standard_normal(41)))
    assert found["autocorrelation"].p < 1e-6
    assert "residuals of y follow one another (lag-1 correlation 0." in found["autocorrelation"].sentence
    assert "the equation misses something, or noise is correlated" in found["autocorrelation"].sentence
    assert found["runs"].p < 1e-6
    assert "the equation misses something" in found["runs"].sentence
    assert "chi-square" not in found


def test_alternating_values_are_told_from_those_that_follow(rng):
    found = by_name(level((-1.0) ** np.arange(41) + 0.1 * rng.standard_normal(41)))
    assert found["autocorrelation"].statistic < -0.9
    assert "alternate" in found["autocorrelation"].sentence
    assert "neighbours undo each other" in found["runs"].sentence


def test_experiments_are_not_each_other_s_neighbours():
    rows = {
        "t": np.tile(np.arange(4.0), 4),
        "y": np.repeat([1.0, -1.0, 1.0, -1.0], 4) + 0.01 * np.tile([1.0, -1.0, 1.0, -1.0], 4),
        "experiment": np.repeat(list("ABCD"), 4),
    }
    fitted = fit(
        lambda t, x, level: 0 * x,
        rows,
        constants={"level": 1.0},
        states=["x"],
        start=[0.0],
        observe=lambda t, x, level: level + x,
        starts=1,
    )
    found = by_name(fitted)
    assert found["autocorrelation"].statistic == pytest.approx(12 / 16, rel=1e-2)
    assert found["runs"].statistic == 4


def test_the_correlation_of_fitted_noise_has_the_p_values_of_simulation(rng):
    """With three constants of nine values, residuals of the right equation are far from independent."""
    t = np.linspace(0.0, 2.0, 9)
    ramp = lambda t, x, v, a: (v + a * t).expand(1)  # noqa: E731
    fitted = fit(ramp, {"t": t, "y": 1 + t}, constants={"v": 1.0, "a": 0.0}, starts=1, sigma=0.1)
    design = np.stack([np.ones(9), t, t**2 / 2], 1)
    projected = np.eye(9) - design @ np.linalg.pinv(design)
    noise = projected @ rng.standard_normal((9, 40_000))
    rho = (noise[1:] * noise[:-1]).sum(0) / (noise**2).sum(0)
    assert rho.mean() < -0.25
    (sample,) = _samples(fitted)
    p = np.array([_autocorrelation(dataclasses.replace(sample, raw=row)).p for row in noise.T[:4000]])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.01)


@pytest.mark.slow
def test_noise_that_grows_with_the_value_is_told_from_noise_that_does_not(rng):
    y = np.exp(0.5 * T)
    noise = rng.standard_normal(41)
    growing = by_name(fit(lambda t, x, a: a * x, {"t": T, "y": y * (1 + 0.1 * noise)}, constants={"a": 0.4}, starts=1))
    constant = by_name(fit(lambda t, x, a: a * x, {"t": T, "y": y + 0.1 * noise}, constants={"a": 0.4}, starts=1))
    assert growing["scatter"].suspicious
    assert "scatter more where it is large" in growing["scatter"].sentence
    assert "proportional, or log-normal" in growing["scatter"].sentence
    assert not constant["scatter"].suspicious
    assert "scatter" not in by_name(level(noise))


def test_skewed_and_heavy_residuals_are_told_apart(rng):
    skewed = by_name(level(rng.exponential(size=41)))["normality"]
    heavy = by_name(level(rng.standard_t(1.5, size=41)))["normality"]
    assert skewed.suspicious
    assert "they are skewed" in skewed.sentence
    assert heavy.suspicious
    assert "tails are heavy" in heavy.sentence or "skewed" in heavy.sentence


def test_an_outlier_is_named_by_its_time(rng):
    y = 0.1 * rng.standard_normal(41)
    y[7] += 1.5
    found = by_name(level(y, sigma=0.1))["outliers"]
    assert found.suspicious
    assert found.sentence.startswith("1 value lies far from y: at time 0.7 (")
    assert "look at them" in found.sentence


def test_spreads_that_are_wrong_show_in_the_sum_of_squares(rng):
    y = 0.1 * rng.standard_normal(41)
    small, large = by_name(level(y, sigma=0.05))["chi-square"], by_name(level(y, sigma=0.3))["chi-square"]
    centred = ((y - y.mean()) ** 2).sum()
    assert small.statistic == pytest.approx(centred / 0.05**2 / 40, rel=1e-6)
    assert small.p == pytest.approx(2 * stats.chi2.sf(centred / 0.05**2, 40), rel=1e-6)
    assert "larger than" in small.sentence
    assert large.suspicious
    assert "the spread is too large" in large.sentence


def test_few_residuals_are_not_tested(rng):
    assert residual_tests(level(np.arange(5.0), t=T[:5])) == ()


def test_laplace_s_residuals_are_held_against_laplace_s_distribution(rng):
    r = rng.laplace(size=100_000)
    assert stats.kstest(_normal_scores(r), "norm").pvalue > 0.01
    n = 400
    found = by_name(level(1 + r[:n], t=np.linspace(0, 1, n), distribution="laplace"))
    assert not found["normality"].suspicious
    assert not found["outliers"].suspicious
    assert np.abs(r[:n]).max() > 4.5
